-- The requests in which a person decided in (after, upto]. IS TRUE keeps the planner from the index of streams, which has
-- all requests.
SELECT DISTINCT e.stream
FROM events e
WHERE e.position > %(after)s AND e.position <= %(upto)s
  AND e.type IN ('recommendation.decided', 'recommendation.confirmed') AND (e.stream LIKE 'request-%%') IS TRUE
