-- The number of events that match, counted up to a limit.
SELECT count(*) FROM (SELECT FROM event_index model WHERE {} LIMIT %(limit)s) counted
