-- Returns the hash of an event (docs/formats/event.md, section 4). The same in Python: ledger/proof/format/hashes.py.
CREATE OR REPLACE FUNCTION event_hash(prev_hash bytea, "position" bigint, version bigint, recorded_at_us bigint, body text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE -- like convert_to(); declared IMMUTABLE, it would not be inlined
AS $$
    SELECT sha256(
        decode('6164766963652d6c65646765722f6576656e742f76310a', 'hex')  -- "advice-ledger/event/v1\n"
        || prev_hash || int8send("position") || int8send(version) || int8send(recorded_at_us) || convert_to(body, 'UTF8')
    )
$$;
