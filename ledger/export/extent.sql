-- Count the selected events that a checkpoint of this size covers, with the first and last position; then those that it does not.
SELECT count(*) FILTER (WHERE e.position <= {size}),
       coalesce(min(e.position) FILTER (WHERE e.position <= {size}), 0),
       coalesce(max(e.position) FILTER (WHERE e.position <= {size}), 0),
       count(*) FILTER (WHERE e.position > {size}),
       coalesce(min(e.position) FILTER (WHERE e.position > {size}), 0)
FROM events e
WHERE {which}
