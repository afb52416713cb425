-- One row for each decision whom to tell of an alert.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor->>'id' AS by, data, client_id,
           whole_number(data->>'alert') AS alert
    FROM slice
    WHERE type IN ('alert.raised', 'notification.decided')
      AND starts_with(stream, 'portfolio-') AND stream <> 'portfolio-'
),
raised AS (
    SELECT decided.position AS id, max(before.position) AS alert_id
    FROM acts decided
    JOIN acts before ON before.stream = decided.stream AND before.alert = decided.alert
                    AND before.position < decided.position
    WHERE decided.type = 'notification.decided' AND before.type = 'alert.raised'
    GROUP BY decided.position
)
SELECT
    decided.stream,
    decided.position AS id,
    substr(decided.stream, length('portfolio-') + 1) AS portfolio,
    decided.client_id,
    raised.alert_id,
    decided.data->>'about' AS about,
    decided.data->'receivers' AS receivers,
    decided.data->>'reason' AS reason,
    decided.data->>'until' AS until,
    whole_number(decided.data->>'run') AS run,
    decided.data->>'as_of' AS as_of,
    truth_value(decided.data->>'historical') AS historical,
    decided.by AS decided_by,
    decided.recorded_at AS created_at
FROM acts decided
LEFT JOIN raised ON raised.id = decided.position
WHERE decided.type = 'notification.decided'
