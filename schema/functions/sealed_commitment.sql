-- Returns the commitment to one sealed field, in hex (docs/formats/event.md, section 3). The same in Python:
-- ledger/proof/format/hashes.py.
CREATE OR REPLACE FUNCTION sealed_commitment(name text, salt bytea, value json)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE -- like convert_to(); declared IMMUTABLE, it would not be inlined
AS $$
    SELECT encode(sha256(
        decode('6164766963652d6c65646765722f7365616c65642f76310a', 'hex')  -- "advice-ledger/sealed/v1\n"
        || salt || convert_to('["' || name || '",' || value::text || ']', 'UTF8')
    ), 'hex')
$$;
