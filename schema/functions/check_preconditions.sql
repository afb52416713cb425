-- Refuses a line (AL003) unless each stream in "preconditions" is at the version given there; version 0 means that the
-- stream has no events. Events of the same batch count: "streams" lists the streams of the lines before this one.
-- append() calls this under its lock, so the state that a decision was made on is the state when it is recorded.
CREATE OR REPLACE FUNCTION check_preconditions(preconditions json, streams text[], line bigint, id uuid, stream text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    precondition record;
    actual       bigint;
BEGIN
    FOR precondition IN SELECT p.key AS stream, p.value AS version FROM json_each_text(preconditions) p LOOP
        actual := coalesce((SELECT max(e.version) FROM events e WHERE e.stream = precondition.stream), 0)
                  + cardinality(array_positions(streams, precondition.stream));
        IF precondition.version IS DISTINCT FROM actual::text THEN
            PERFORM refuse_append('AL003', format('a stream precondition expects version %s, the stream is at version %s',
                                                  precondition.version, actual),
                                  line, id, stream, precondition.version, actual);
        END IF;
    END LOOP;
END
$$;
