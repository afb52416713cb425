-- Refuses (AL010) unless the events at these positions have these hashes. A writer calls it on each new connection,
-- with what was signed last, because the connection may lead to another copy of the database.
CREATE OR REPLACE FUNCTION check_history(positions bigint[], hashes bytea[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
DECLARE
    lacking bigint;
BEGIN
    SELECT min(k.position) INTO lacking
    FROM unnest(positions, hashes) AS k (position, hash)
    WHERE NOT EXISTS (SELECT FROM events e WHERE e.position = k.position AND e.hash = k.hash);
    IF lacking IS NOT NULL THEN
        PERFORM refuse_append('AL010', format('the event at position %s that was signed is not in this database: an older copy was restored', lacking));
    END IF;
END
$$;
