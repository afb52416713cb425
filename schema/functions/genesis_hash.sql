-- Returns the hash before the first event, from the name of the ledger (docs/formats/event.md, section 4). The same in
-- Python: ledger/proof/format/hashes.py.
CREATE OR REPLACE FUNCTION genesis_hash(origin text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE -- like convert_to(); declared IMMUTABLE, it would not be inlined
AS $$
    SELECT sha256(
        decode('6164766963652d6c65646765722f67656e657369732f76310a', 'hex')  -- "advice-ledger/genesis/v1\n"
        || convert_to(origin, 'UTF8')
    )
$$;
