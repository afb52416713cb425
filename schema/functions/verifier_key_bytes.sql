-- Returns the 32 bytes of an Ed25519 key from a verifier key, which is NAME+ID+base64 of a type and these bytes. Null
-- for null.
CREATE OR REPLACE FUNCTION verifier_key_bytes(verifier_key text)
RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
    SELECT substring(decode(substring(verifier_key FROM '^[^+]+[+][0-9a-f]{8}[+](.+)$'), 'base64') FROM 2)
$$;
