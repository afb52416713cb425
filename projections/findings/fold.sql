-- One row for each finding, in the stream of its request or of its client. The first closing counts.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, occurred_at, actor->>'id' AS by, data, sealed, client_id,
           whole_number(data->>'finding_id') AS finding_id
    FROM slice
    WHERE type IN ('finding.opened', 'finding.assigned', 'finding.closed')
      AND (stream_number(stream, 'request-') IS NOT NULL OR stream_number(stream, 'client-') IS NOT NULL)
),
assigned AS (
    SELECT DISTINCT ON (stream, finding_id) stream, finding_id, data->>'assignee' AS assignee
    FROM acts
    WHERE type = 'finding.assigned' AND finding_id < position
    ORDER BY stream, finding_id, position DESC
),
closed AS (
    SELECT DISTINCT ON (stream, finding_id) stream, finding_id, position, occurred_at, by, data, sealed
    FROM acts
    WHERE type = 'finding.closed' AND finding_id < position
    ORDER BY stream, finding_id, position
)
SELECT
    opened.stream,
    opened.position AS id,
    stream_number(opened.stream, 'request-') AS request_id,
    stream_number(opened.stream, 'client-') AS client,
    opened.client_id,
    opened.decision_id,
    opened.severity,
    CASE WHEN closed.position IS NULL THEN 'open' ELSE 'closed' END AS state,
    opened.text,
    opened.by AS opened_by,
    assigned.assignee,
    closed.data->>'resolution' AS resolution,
    closed.by AS closed_by,
    closed.occurred_at AS closed_at,
    closed.position AS close_id,
    closed.sealed->>'reason' AS close_reason,
    opened.occurred_at AS created_at
FROM (
    SELECT stream, position, client_id, whole_number(data->>'decision_id') AS decision_id, data->>'severity' AS severity,
           sealed->>'text' AS text, by, occurred_at
    FROM acts
    WHERE type = 'finding.opened'
) opened
LEFT JOIN assigned ON assigned.stream = opened.stream AND assigned.finding_id = opened.position
LEFT JOIN closed ON closed.stream = opened.stream AND closed.finding_id = opened.position
