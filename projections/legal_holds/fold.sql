-- One row for each hold that was placed. The first release counts.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, occurred_at, actor->>'id' AS by, data, sealed, client_id,
           whole_number(data->>'hold_id') AS hold_id
    FROM slice
    WHERE type IN ('legal-hold.placed', 'legal-hold.released') AND stream_number(stream, 'client-') IS NOT NULL
),
released AS (
    SELECT DISTINCT ON (stream, hold_id) stream, hold_id, position, occurred_at, by, sealed
    FROM acts
    WHERE type = 'legal-hold.released'
    ORDER BY stream, hold_id, position
)
SELECT
    placed.stream,
    placed.position AS id,
    stream_number(placed.stream, 'client-') AS client,
    placed.client_id,
    whole_number(placed.data->>'request_id') AS request_id,
    CASE WHEN released.position IS NULL THEN 'active' ELSE 'released' END AS state,
    placed.sealed->>'reason' AS reason,
    placed.by AS placed_by,
    released.occurred_at AS released_at,
    released.by AS released_by,
    released.sealed->>'reason' AS release_reason,
    placed.occurred_at AS created_at,
    coalesce(released.occurred_at, placed.occurred_at) AS updated_at
FROM acts placed
LEFT JOIN released ON released.stream = placed.stream AND released.hold_id = placed.position AND released.position > placed.position
WHERE placed.type = 'legal-hold.placed'
