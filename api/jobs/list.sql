-- Select jobs, the newest first.
SELECT id, kind, parameters, asked_by, state, done, total, result, error, attempt, not_before, created_at, started_at,
       ended_at, expires_at
FROM jobs
WHERE (%(id)s::bigint IS NULL OR id = %(id)s)
  AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(asked_by)s::text IS NULL OR asked_by = %(asked_by)s)
ORDER BY id DESC
LIMIT %(limit)s
