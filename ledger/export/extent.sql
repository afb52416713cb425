-- How many of the selected events a checkpoint of this size covers, and where they begin and end; and the same of others.
SELECT count(*) FILTER (WHERE e.position <= {size}),
       coalesce(min(e.position) FILTER (WHERE e.position <= {size}), 0),
       coalesce(max(e.position) FILTER (WHERE e.position <= {size}), 0),
       count(*) FILTER (WHERE e.position > {size}),
       coalesce(min(e.position) FILTER (WHERE e.position > {size}), 0)
FROM events e
WHERE {which}
