-- One row for each run of monitoring. It is completed once.
WITH runs AS MATERIALIZED (
    SELECT stream, position, version, type, recorded_at, actor->>'id' AS by, data
    FROM slice
    WHERE type IN ('monitoring.run-started', 'monitoring.run-completed')
      AND stream_number(stream, 'monitoring-') IS NOT NULL
),
ended AS (
    SELECT DISTINCT ON (stream) stream, recorded_at, data
    FROM runs
    WHERE type = 'monitoring.run-completed'
    ORDER BY stream, position
)
SELECT
    started.stream,
    stream_number(started.stream, 'monitoring-') AS id,
    CASE WHEN ended.stream IS NULL THEN 'started' ELSE 'completed' END AS state,
    started.data->>'as_of' AS as_of,
    whole_number(started.data->>'position') AS judged_upto,
    truth_value(started.data->>'historical') AS historical,
    started.data->>'zone_data' AS zone_data,
    whole_number(ended.data->>'portfolios') AS portfolios,
    whole_number(ended.data->'conditions'->>'ok') AS ok,
    whole_number(ended.data->'conditions'->>'watch') AS watch,
    whole_number(ended.data->'conditions'->>'breached') AS breached,
    whole_number(ended.data->'conditions'->>'unknown') AS unknown,
    whole_number(ended.data->>'raised') AS raised,
    whole_number(ended.data->>'closed') AS closed,
    whole_number(ended.data->>'decisions') AS decisions,
    ended.data->'policies' AS policies,
    ended.data->>'root' AS root,
    started.by AS started_by,
    started.recorded_at AS created_at,
    ended.recorded_at AS completed_at
FROM runs started
LEFT JOIN ended ON ended.stream = started.stream
WHERE started.version = 1 AND started.type = 'monitoring.run-started'
