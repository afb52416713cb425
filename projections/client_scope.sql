-- The clients in a scope, as ClientScope.includes() decides it for one client: number and identifier of each. Goes from
-- the clients that are assigned, and from those of the list, to all that were merged into them. UNION ends a cycle, which
-- no command can make.
WITH RECURSIVE reached AS (
    SELECT 'assigned' AS by, c.id
    FROM clients c
    WHERE (c.subjects @> ARRAY[%(subject)s::text] OR c.groups && %(groups)s::text[])
      AND EXISTS (
        SELECT FROM jsonb_to_recordset(c.assignments) a(subject text, "group" text, since text, until text)
        WHERE (a.subject = %(subject)s OR a."group" = ANY (%(groups)s::text[]))
          AND (a.since IS NULL OR a.since COLLATE "C" <= %(at)s)
          AND (a.until IS NULL OR %(at)s < a.until COLLATE "C")
      )
    UNION ALL
    SELECT 'listed', unnest(%(listed)s::bigint[])
    UNION
    SELECT reached.by, c.id
    FROM reached
    JOIN clients c ON c.merged_into = reached.id
)
SELECT c.id, c.client_id
FROM clients c
WHERE (NOT %(assigned)s OR c.id IN (SELECT id FROM reached WHERE by = 'assigned'))
  AND (%(listed)s::bigint[] IS NULL OR c.id IN (SELECT id FROM reached WHERE by = 'listed'))
  AND (%(assigned)s OR %(listed)s::bigint[] IS NOT NULL)
