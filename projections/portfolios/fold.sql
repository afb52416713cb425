-- One row for each portfolio: its newest definition.
WITH definitions AS MATERIALIZED (
    SELECT stream, position, recorded_at, actor->>'id' AS by, data, sealed, client_id
    FROM slice
    WHERE type = 'portfolio.defined' AND starts_with(stream, 'portfolio-') AND stream <> 'portfolio-'
),
lasting AS (
    SELECT stream, min(position) AS id, max(position) AS newest, count(*) AS definitions,
           min(recorded_at) AS created_at, max(recorded_at) AS updated_at
    FROM definitions
    GROUP BY stream
)
SELECT
    lasting.stream,
    lasting.id,
    substr(lasting.stream, length('portfolio-') + 1) AS name,
    whole_number(newest.data->>'client') AS client,
    newest.client_id,
    newest.data->>'base' AS base,
    newest.sealed->'targets' AS targets,
    newest.sealed->>'rest' AS rest,
    newest.data->>'policy' AS policy,
    newest.data->>'risk_profile' AS risk_profile,
    whole_number(newest.data->>'recommendation_id') AS recommendation_id,
    newest.data->>'source' AS source,
    newest.data->>'assessed_on' AS assessed_on,
    lasting.definitions,
    newest.by AS defined_by,
    lasting.created_at,
    lasting.updated_at
FROM lasting
JOIN definitions newest ON newest.stream = lasting.stream AND newest.position = lasting.newest
