-- Gives a new table the keys, indexes, triggers and rights of an old one, so that it can take its place. Where a name has
-- that of the old table in it, it gets that of the new one. For a scrub, as the owner.
CREATE OR REPLACE FUNCTION make_twin(old regclass, new regclass)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    old_table pg_class;
    new_table pg_class;
    place     text;
    found     record;
BEGIN
    SELECT * INTO STRICT old_table FROM pg_class WHERE oid = old;
    SELECT * INTO STRICT new_table FROM pg_class WHERE oid = new;
    -- As definitions have it.
    place := format(' ON %I.%I ', old_table.relnamespace::regnamespace::name, old_table.relname);
    FOR found IN
        SELECT replace(c.conname, old_table.relname, new_table.relname) AS name, pg_get_constraintdef(c.oid) AS definition
        FROM pg_constraint c WHERE c.conrelid = old AND c.contype IN ('p', 'u') ORDER BY c.conname
    LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', new, found.name, found.definition);
    END LOOP;
    FOR found IN
        SELECT pg_get_indexdef(i.indexrelid) AS definition FROM pg_index i
        WHERE i.indrelid = old AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
    LOOP
        EXECUTE replace(found.definition, place, format(' ON %s ', new));
    END LOOP;
    FOR found IN
        SELECT t.tgname AS name, pg_get_triggerdef(t.oid) AS definition, t.tgenabled = 'A' AS always
        FROM pg_trigger t WHERE t.tgrelid = old AND NOT t.tgisinternal ORDER BY t.tgname
    LOOP
        EXECUTE replace(found.definition, place, format(' ON %s ', new));
        IF found.always THEN
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', new, found.name);
        END IF;
    END LOOP;
    FOR found IN
        SELECT a.privilege_type AS privilege, r.rolname AS role FROM aclexplode(old_table.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE a.grantee <> old_table.relowner
    LOOP
        EXECUTE format('GRANT %s ON %s TO %I', found.privilege, new, found.role);
    END LOOP;
END
$$;
