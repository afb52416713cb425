-- For each client that is asked for: all identifiers of the same client, its aliases and all that were merged included, as
-- of a position (null: now). Goes up to the client that is not merged, and down from there. UNION ends a cycle, which no
-- command can make.
WITH RECURSIVE up AS (
    SELECT c.id AS asked, c.id,
           CASE WHEN %(upto)s::bigint IS NULL OR c.merged_position <= %(upto)s THEN c.merged_into END AS merged_into
    FROM clients c
    WHERE c.id = ANY (%(clients)s) OR c.client_id = ANY (%(client_ids)s)
    UNION
    SELECT up.asked, c.id,
           CASE WHEN %(upto)s::bigint IS NULL OR c.merged_position <= %(upto)s THEN c.merged_into END
    FROM up
    JOIN clients c ON c.id = up.merged_into
),
same AS (
    SELECT asked, id FROM up WHERE merged_into IS NULL
    UNION
    SELECT same.asked, c.id
    FROM same
    JOIN clients c ON c.merged_into = same.id AND (%(upto)s::bigint IS NULL OR c.merged_position <= %(upto)s)
)
SELECT asked.client_id AS asked_id, c.id, c.client_id
FROM same
JOIN clients asked ON asked.id = same.asked
JOIN clients c ON c.id = same.id
ORDER BY c.id
