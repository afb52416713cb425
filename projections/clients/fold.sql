-- One row for each identifier of a client. For each subject and group the last event about it counts; the first merge
-- counts, and an alias is merged from the start. A registration may have the first assignment in it.
WITH acts AS MATERIALIZED (
    SELECT stream, position, version, type, occurred_at, actor->>'id' AS by, data, sealed
    FROM slice
    WHERE type IN ('client.registered', 'client.aliased', 'client.merged', 'client.assigned', 'client.unassigned')
      AND stream_number(stream, 'client-') IS NOT NULL
),
last_acts AS (
    SELECT DISTINCT ON (stream, data->>'subject', data->>'group')
           stream, position, type, data->>'subject' AS subject,
           CASE WHEN data->>'subject' IS NULL THEN data->>'group' END AS "group",
           data->>'since' AS since, data->>'until' AS until
    FROM acts
    WHERE (type IN ('client.assigned', 'client.unassigned') OR (type = 'client.registered' AND version = 1))
      AND coalesce(data->>'subject', data->>'group') IS NOT NULL
    ORDER BY stream, data->>'subject', data->>'group', position DESC
),
assigned AS (
    SELECT stream,
           jsonb_agg(jsonb_build_object('subject', subject, 'group', "group", 'since', since, 'until', until,
                                        'position', position) ORDER BY position) AS assignments,
           array_agg(subject ORDER BY position) FILTER (WHERE subject IS NOT NULL) AS subjects,
           array_agg("group" ORDER BY position) FILTER (WHERE "group" IS NOT NULL) AS groups
    FROM last_acts
    WHERE type <> 'client.unassigned'
    GROUP BY stream
),
merged AS (
    SELECT DISTINCT ON (stream) stream, position, occurred_at, by,
           coalesce(whole_number(data->>'of'), whole_number(data->>'into')) AS target
    FROM acts
    WHERE type = 'client.merged' OR (type = 'client.aliased' AND version = 1)
    ORDER BY stream, position
),
newest AS (
    SELECT stream, max(occurred_at) AS occurred_at
    FROM acts
    GROUP BY stream
)
SELECT
    client.stream,
    stream_number(client.stream, 'client-') AS id,
    client.sealed->>'client_id' AS client_id,
    client.type = 'client.aliased' AS alias,
    merged.target AS merged_into,
    merged.position AS merged_position,
    merged.occurred_at AS merged_at,
    merged.by AS merged_by,
    coalesce(assigned.assignments, '[]') AS assignments,
    coalesce(assigned.subjects, '{}') AS subjects,
    coalesce(assigned.groups, '{}') AS groups,
    client.by AS registered_by,
    client.occurred_at AS created_at,
    newest.occurred_at AS updated_at
FROM acts client
JOIN newest ON newest.stream = client.stream
LEFT JOIN assigned ON assigned.stream = client.stream
LEFT JOIN merged ON merged.stream = client.stream
WHERE client.version = 1 AND client.type IN ('client.registered', 'client.aliased')
