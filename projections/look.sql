-- One look for all read models at the events in (after, upto] that they have not applied. A read model that none of
-- these events touches moves on. Of each: its name, whether it was touched, whether there are events after `upto`, and
-- the number of events. A row of `projections` that another process has locked is left to that process.
WITH due AS (
    SELECT p.name, p.digest, p.position AS after, least(h.position, p.position + %(most)s) AS upto,
           h.position > p.position + %(most)s AS more
    FROM projections p, head h
    WHERE p.error IS NULL AND p.position < h.position
    FOR UPDATE OF p SKIP LOCKED
),
held AS MATERIALIZED (
    SELECT range.after, range.upto, e.type, e.version > 1 AS later
    FROM (SELECT DISTINCT after, upto FROM due) range
    JOIN events e ON e.position > range.after AND e.position <= range.upto
    GROUP BY 1, 2, 3, 4
),
judged AS (
    SELECT due.*, EXISTS (
        -- As in TOUCHED_BY of projections/engine.py.
        SELECT FROM held
        WHERE (held.after, held.upto) = (due.after, due.upto)
          AND (held.type = ANY (coalesce(known.types, ARRAY[held.type])) OR held.later AND held.type = ANY (%(naming)s))
    ) AS touched
    FROM due
    JOIN json_to_recordset(%(known)s) AS known (name text, digest text, types text[]) USING (name, digest)
),
moved AS (
    UPDATE projections p
    SET position = judged.upto, updated_at = clock_timestamp()
    FROM judged
    WHERE p.name = judged.name AND p.position = judged.after AND NOT judged.touched
)
SELECT name, touched, more, upto - after FROM judged
