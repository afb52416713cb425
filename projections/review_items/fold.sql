-- One row for each decision that a sample chose, in the stream of its request. The first review that looked at the decision
-- after it was chosen closes the item; findings about the decision, or about the whole case, count from then on.
WITH acts AS MATERIALIZED (
    SELECT stream, position, type, occurred_at, actor->>'id' AS by, data,
           whole_number(data->>'item_id') AS item_id, whole_number(data->>'decision_id') AS decision_id
    FROM slice
    WHERE type IN ('review.assigned', 'review.reassigned', 'case.reviewed', 'finding.opened')
      AND stream_number(stream, 'request-') IS NOT NULL
),
reassigned AS (
    SELECT DISTINCT ON (stream, item_id) stream, item_id, data->>'assignee' AS assignee, occurred_at
    FROM acts
    WHERE type = 'review.reassigned' AND item_id < position
    ORDER BY stream, item_id, position DESC
),
-- A later assignment without a time leaves the last one.
due AS (
    SELECT DISTINCT ON (stream, item_id) stream, item_id, data->>'due_at' AS due_at
    FROM acts
    WHERE type = 'review.reassigned' AND item_id < position AND data->>'due_at' IS NOT NULL
    ORDER BY stream, item_id, position DESC
),
reviewed AS (
    SELECT DISTINCT ON (i.position) i.position AS item_id, r.position, r.by, r.occurred_at, r.data->>'disposition' AS disposition
    FROM acts i
    JOIN acts r ON r.stream = i.stream AND r.position > i.position AND whole_number(r.data->>'upto') >= i.decision_id
    WHERE i.type = 'review.assigned' AND r.type = 'case.reviewed'
    ORDER BY i.position, r.position
),
found AS (
    SELECT i.position AS item_id, count(*) AS findings
    FROM acts i
    JOIN acts f ON f.stream = i.stream AND f.position > i.position
        AND (f.decision_id IS NULL OR f.decision_id = i.decision_id)
    WHERE i.type = 'review.assigned' AND f.type = 'finding.opened'
    GROUP BY i.position
)
SELECT
    assigned.stream,
    assigned.position AS id,
    stream_number(assigned.stream, 'request-') AS request_id,
    assigned.decision_id,
    whole_number(assigned.data->>'sample') AS sample,
    coalesce(reassigned.assignee, assigned.data->>'assignee') AS assignee,
    coalesce(due.due_at, assigned.data->>'due_at') AS due_at,
    CASE WHEN reviewed.position IS NULL THEN 'open' WHEN found.findings > 0 THEN 'finding' ELSE 'reviewed' END AS state,
    assigned.by AS assigned_by,
    assigned.occurred_at AS created_at,
    reviewed.position AS review_id,
    reviewed.by AS reviewed_by,
    reviewed.occurred_at AS reviewed_at,
    reviewed.disposition,
    coalesce(found.findings, 0) AS findings
FROM acts assigned
LEFT JOIN reassigned ON reassigned.stream = assigned.stream AND reassigned.item_id = assigned.position
LEFT JOIN due ON due.stream = assigned.stream AND due.item_id = assigned.position
LEFT JOIN reviewed ON reviewed.item_id = assigned.position
LEFT JOIN found ON found.item_id = assigned.position
WHERE assigned.type = 'review.assigned'
