-- One row for each erasure that was requested. The first answer counts. Only an erasure that waits takes one.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, occurred_at, actor->>'id' AS by, data, sealed, client_id,
           whole_number(data->>'erasure_id') AS erasure_id
    FROM slice
    WHERE type IN ('erasure.requested', 'erasure.declined', 'erasure.refused', 'client.erased')
      AND stream_number(stream, 'client-') IS NOT NULL
),
answers AS (
    SELECT DISTINCT ON (stream, erasure_id) stream, erasure_id, position, type, occurred_at, by, data, sealed
    FROM acts
    WHERE type <> 'erasure.requested'
    ORDER BY stream, erasure_id, position
)
SELECT
    asked.stream,
    asked.position AS id,
    stream_number(asked.stream, 'client-') AS client,
    asked.client_id,
    CASE WHEN answer.type = 'client.erased' THEN 'erased'
         WHEN answer.type = 'erasure.declined' THEN 'declined'
         WHEN answer.type = 'erasure.refused' OR asked.data ? 'forbidden' THEN 'refused'
         ELSE 'waiting' END AS state,
    asked.data->>'reason' AS reason,
    asked.data->>'reference' AS reference,
    asked.sealed->>'note' AS note,
    asked.by AS requested_by,
    asked.data->>'expires_at' AS expires_at,
    coalesce(answer.data->'forbidden', asked.data->'forbidden') AS forbidden,
    coalesce(answer.data->'clients', asked.data->'clients') AS clients,
    whole_number(coalesce(answer.data->>'streams', asked.data->>'streams')) AS streams,
    whole_number(coalesce(answer.data->>'events', asked.data->>'events')) AS events,
    whole_number(coalesce(answer.data->>'values', asked.data->>'values')) AS values,
    coalesce(answer.data->'reapplies', asked.data->'reapplies') AS reapplies,
    answer.position AS answer_position,
    answer.by AS answered_by,
    answer.occurred_at AS answered_at,
    answer.sealed->>'rationale' AS rationale,
    asked.occurred_at AS created_at,
    coalesce(answer.occurred_at, asked.occurred_at) AS updated_at
FROM acts asked
LEFT JOIN answers answer ON answer.stream = asked.stream AND answer.erasure_id = asked.position AND answer.position > asked.position
WHERE asked.type = 'erasure.requested'
