-- One row for each message to an endpoint. Its state is that of the last event.
WITH acts AS MATERIALIZED (
    SELECT stream, position, version, type, recorded_at, data, truth_value(data->>'final') AS final
    FROM slice
    WHERE type IN ('delivery.planned', 'delivery.attempted', 'delivery.ended', 'delivery.resent')
      AND stream_number(stream, 'delivery-') IS NOT NULL
),
newest AS (
    SELECT DISTINCT ON (stream) stream, type, recorded_at, data, final
    FROM acts
    WHERE version = 1 OR type <> 'delivery.planned'
    ORDER BY stream, position DESC
),
counted AS (
    SELECT stream,
           count(*) FILTER (WHERE type = 'delivery.attempted') AS attempts,
           1 + count(*) FILTER (WHERE type = 'delivery.resent') AS round,
           max(recorded_at) FILTER (WHERE type = 'delivery.attempted') AS attempted_at
    FROM acts
    GROUP BY stream
)
SELECT
    planned.stream,
    stream_number(planned.stream, 'delivery-') AS id,
    whole_number(planned.data->>'run') AS run,
    planned.data->>'endpoint' AS endpoint,
    planned.data->'decisions' AS decisions,
    CASE newest.type
        WHEN 'delivery.attempted' THEN 'sending'
        WHEN 'delivery.ended' THEN CASE
            WHEN newest.data->>'outcome' IN ('delivered', 'withheld') THEN newest.data->>'outcome'
            WHEN newest.final THEN 'failed'
            ELSE 'waiting' END
        ELSE 'waiting' END AS state,
    newest.data->>'outcome' AS outcome,
    newest.data->>'reason' AS reason,
    whole_number(newest.data->>'status') AS status,
    counted.attempts,
    counted.round,
    counted.attempted_at,
    planned.recorded_at AS created_at,
    newest.recorded_at AS updated_at
FROM acts planned
JOIN newest ON newest.stream = planned.stream
JOIN counted ON counted.stream = planned.stream
WHERE planned.version = 1 AND planned.type = 'delivery.planned'
