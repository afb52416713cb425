-- One row for each export. What came of it is the first event that says so.
WITH exported AS MATERIALIZED (
    SELECT stream, position, version, type, recorded_at, actor->>'id' AS by, data, sealed
    FROM slice
    WHERE type IN ('export.requested', 'export.completed', 'export.failed')
      AND stream_number(stream, 'export-') IS NOT NULL
),
ended AS (
    SELECT DISTINCT ON (stream) stream, type, recorded_at, data
    FROM exported
    WHERE type IN ('export.completed', 'export.failed')
    ORDER BY stream, position
)
SELECT
    requested.stream,
    stream_number(requested.stream, 'export-') AS id,
    CASE ended.type WHEN 'export.completed' THEN 'completed' WHEN 'export.failed' THEN 'failed' ELSE 'requested' END AS state,
    whole_number(requested.data->>'client') AS client,
    whole_number(requested.data->>'request') AS request,
    whole_number(requested.data->>'position_from') AS position_from,
    whole_number(requested.data->>'position_to') AS position_to,
    requested.data->>'recorded_from' AS recorded_from,
    requested.data->>'recorded_to' AS recorded_to,
    requested.data->>'occurred_from' AS occurred_from,
    requested.data->>'occurred_to' AS occurred_to,
    requested.data->'search' AS search,
    requested.sealed->>'text' AS text,
    requested.data->'disclose' AS disclose,
    requested.data->'withhold' AS withhold,
    requested.data->>'zone' AS zone,
    requested.sealed->>'purpose' AS purpose,
    requested.sealed->>'recipient' AS recipient,
    whole_number(ended.data->>'events') AS events,
    whole_number(ended.data->>'first_position') AS first_position,
    whole_number(ended.data->>'last_position') AS last_position,
    whole_number(ended.data->>'excluded') AS excluded,
    whole_number(ended.data->>'checkpoint_size') AS checkpoint_size,
    whole_number(ended.data->>'bytes') AS bytes,
    ended.data->>'sha256' AS sha256,
    ended.data->'fields' AS fields,
    ended.data->>'expires_at' AS expires_at,
    ended.data->>'reason' AS failure_reason,
    requested.by AS requested_by,
    requested.recorded_at AS created_at,
    ended.recorded_at AS ended_at
FROM exported requested
LEFT JOIN ended ON ended.stream = requested.stream
WHERE requested.version = 1 AND requested.type = 'export.requested'
