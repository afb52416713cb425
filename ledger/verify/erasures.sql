-- Select the events that erase their streams: position, stream and id of the erasure. Find them by a pattern, not by a
-- cast to jsonb, because a body that somebody changed may be invalid JSON.
SELECT e.position, e.stream, substring(e.body FROM '"erasure_id":([0-9]{1,18})')::bigint
FROM events e
WHERE e.type IN ('client.erased', 'values.erased')
ORDER BY e.position
