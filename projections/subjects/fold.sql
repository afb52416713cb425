-- One row for each subject: what it is, its roles and groups, and whether it is suspended. Roles whose time is over stay
-- in the row until they are revoked: a fold has no clock. Authentication does not rely on this row: it folds the stream
-- of the subject again (ledger/domain/subject.py).
WITH changes AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor->>'id' AS actor_id, data, sealed
    FROM slice
    WHERE type IN ('subject.registered', 'subject.role-granted', 'subject.role-revoked', 'subject.suspended',
                   'subject.resumed', 'subject.group-joined', 'subject.group-left')
      AND starts_with(stream, 'subject-')
),
-- The last word on each role, and on each group.
of_roles AS (
    SELECT DISTINCT ON (stream, data->>'role') stream, position, type, actor_id, data
    FROM changes
    WHERE type IN ('subject.role-granted', 'subject.role-revoked')
    ORDER BY stream, data->>'role', position DESC
),
granted AS (
    SELECT stream, array_agg(data->>'role' ORDER BY data->>'role' COLLATE "C") AS roles,
           jsonb_agg(
               jsonb_strip_nulls(jsonb_build_object(
                   'role', data->'role', 'until', data->'until', 'clients', data->'clients', 'granted_by', actor_id,
                   'position', position
               )) ORDER BY data->>'role' COLLATE "C"
           ) AS grants
    FROM of_roles
    WHERE type = 'subject.role-granted'
    GROUP BY stream
),
of_groups AS (
    SELECT DISTINCT ON (stream, data->>'group') stream, type, data->>'group' AS name
    FROM changes
    WHERE type IN ('subject.group-joined', 'subject.group-left')
    ORDER BY stream, data->>'group', position DESC
),
joined AS (
    SELECT stream, array_agg(name ORDER BY name COLLATE "C") AS groups
    FROM of_groups
    WHERE type = 'subject.group-joined'
    GROUP BY stream
),
subject AS (
    SELECT
        stream,
        min(position) AS id,
        (array_agg(data->>'kind' ORDER BY position) FILTER (WHERE type = 'subject.registered'))[1] AS kind,
        (array_agg(sealed->>'display_name' ORDER BY position) FILTER (WHERE type = 'subject.registered'))[1]
          AS display_name,
        coalesce(max(position) FILTER (WHERE type = 'subject.suspended'), 0)
          > coalesce(max(position) FILTER (WHERE type = 'subject.resumed'), 0) AS suspended,
        max(recorded_at) FILTER (WHERE type = 'subject.suspended') AS suspended_at,
        (array_agg(actor_id ORDER BY position DESC) FILTER (WHERE type = 'subject.suspended'))[1] AS suspended_by,
        (array_agg(sealed->>'reason' ORDER BY position DESC) FILTER (WHERE type = 'subject.suspended'))[1]
          AS suspend_reason,
        max(recorded_at) FILTER (WHERE type = 'subject.resumed') AS resumed_at,
        (array_agg(actor_id ORDER BY position DESC) FILTER (WHERE type = 'subject.resumed'))[1] AS resumed_by,
        (array_agg(sealed->>'reason' ORDER BY position DESC) FILTER (WHERE type = 'subject.resumed'))[1]
          AS resume_reason,
        min(recorded_at) AS created_at,
        max(recorded_at) AS updated_at
    FROM changes
    GROUP BY stream
)
SELECT
    subject.stream,
    subject.id,
    substr(subject.stream, length('subject-') + 1) AS name,
    subject.kind,
    subject.display_name,
    coalesce(granted.roles, '{}') AS roles,
    coalesce(granted.grants, '[]') AS grants,
    coalesce(joined.groups, '{}') AS groups,
    subject.suspended,
    subject.suspended_at,
    subject.suspended_by,
    subject.suspend_reason,
    subject.resumed_at,
    subject.resumed_by,
    subject.resume_reason,
    subject.created_at,
    subject.updated_at
FROM subject
LEFT JOIN granted ON granted.stream = subject.stream
LEFT JOIN joined ON joined.stream = subject.stream
