-- One row for each agent: the schema that its answers must have, and whether it is suspended. The last event of each
-- kind counts; the last suspension and the last resumption both stay visible.
SELECT
    stream,
    substr(stream, length('agent-') + 1) AS name,
    min(position) AS id,
    coalesce(max(position) FILTER (WHERE type = 'agent.suspended'), 0)
      > coalesce(max(position) FILTER (WHERE type = 'agent.resumed'), 0) AS suspended,
    max(recorded_at) FILTER (WHERE type = 'agent.suspended') AS suspended_at,
    (array_agg(actor->>'id' ORDER BY position DESC) FILTER (WHERE type = 'agent.suspended'))[1] AS suspended_by,
    (array_agg(sealed->>'reason' ORDER BY position DESC) FILTER (WHERE type = 'agent.suspended'))[1] AS suspend_reason,
    max(recorded_at) FILTER (WHERE type = 'agent.resumed') AS resumed_at,
    (array_agg(actor->>'id' ORDER BY position DESC) FILTER (WHERE type = 'agent.resumed'))[1] AS resumed_by,
    (array_agg(sealed->>'reason' ORDER BY position DESC) FILTER (WHERE type = 'agent.resumed'))[1] AS resume_reason,
    (array_agg(data->>'answer_schema' ORDER BY position DESC) FILTER (WHERE type = 'agent.registered'))[1]
      AS answer_schema,
    min(recorded_at) AS created_at,
    max(recorded_at) AS updated_at
FROM slice
WHERE type IN ('agent.registered', 'agent.suspended', 'agent.resumed')
  AND starts_with(stream, 'agent-') AND stream <> 'agent-'
GROUP BY stream
