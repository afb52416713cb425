-- Refuses a line (AL003) unless each stream in "guards" is at the version given there, 0 for none. Events of this batch
-- count: "streams" has those of the lines before this one. Called by append() under its lock, so what was looked at
-- before a decision is what is there when it is recorded.
CREATE OR REPLACE FUNCTION check_guards(guards json, streams text[], line bigint, id uuid, stream text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    guard  record;
    actual bigint;
BEGIN
    FOR guard IN SELECT g.key AS stream, g.value AS version FROM json_each_text(guards) g LOOP
        actual := coalesce((SELECT max(e.version) FROM events e WHERE e.stream = guard.stream), 0)
                  + cardinality(array_positions(streams, guard.stream));
        IF guard.version IS DISTINCT FROM actual::text THEN
            PERFORM refuse_append('AL003', format('the guarded stream is at version %s, not %s', actual, guard.version),
                                  line, id, stream, guard.version, actual);
        END IF;
    END LOOP;
END
$$;
