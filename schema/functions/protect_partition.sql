-- Gives a partition of sealed_fields the triggers of its parent: those of the parent do not fire for a statement that names
-- the partition. And takes away all rights on it: who may read the parent reads its partitions through it. For migrate and
-- for a scrub, as the owner.
CREATE OR REPLACE FUNCTION protect_partition(part regclass)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    grantee name;
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON %s'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', part);
    EXECUTE format('CREATE OR REPLACE TRIGGER check_erased AFTER DELETE ON %s REFERENCING OLD TABLE AS deleted'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION check_values_erased()', part);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER check_erased', part);
    FOR grantee IN
        SELECT DISTINCT r.rolname FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.oid = part AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', part, grantee);
    END LOOP;
END
$$;
