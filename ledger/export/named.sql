-- Select the streams that an event w names, and the position of the event that is named in each, 0 for the first: the
-- recommendations, decisions and requests that the model was shown, and requests that replaced a withdrawn one or are
-- held. A part of window.sql and referred.sql. Bodies are read as text, as somebody may have changed them: members of
-- canonical JSON stand in one order.
SELECT s.stream, s.position
FROM regexp_matches(w.body, '"id":"([0-9]{1,18})","kind":"(?:recommendation|decision)"', 'g') AS shown (id)
JOIN events s ON s.position = shown.id[1]::bigint
WHERE w.type = 'model-call.started'
UNION ALL
SELECT 'request-' || shown.id[1], 0
FROM regexp_matches(w.body, '"id":"([0-9]{1,18})","kind":"request"', 'g') AS shown (id)
WHERE w.type = 'model-call.started'
UNION ALL
SELECT 'request-' || number[1], 0
FROM regexp_matches(w.body, '"(?:replaced_by|request_id)":([0-9]{1,18})') AS number
WHERE w.type IN ('request.withdrawn', 'legal-hold.placed')
