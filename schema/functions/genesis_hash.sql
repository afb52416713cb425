-- The hash before the first event, made from the ledger's name (docs/formats/event.md, section 4). Twin: ledger/proof/format/hashes.py.
CREATE OR REPLACE FUNCTION genesis_hash(origin text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE -- as convert_to() is: declared IMMUTABLE, it would not be inlined
AS $$
    SELECT sha256('\x6164766963652d6c65646765722f67656e657369732f76310a'::bytea || convert_to(origin, 'UTF8'))
$$;
