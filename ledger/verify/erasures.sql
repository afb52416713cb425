-- The events that erase their streams: position, stream, and the erasure that they belong to. A pattern, not a cast to jsonb,
-- finds it: a body that somebody changed may be no JSON.
SELECT e.position, e.stream, substring(e.body FROM '"erasure_id":([0-9]{1,18})')::bigint
FROM events e
WHERE e.type IN ('client.erased', 'values.erased')
ORDER BY e.position
