-- Stores the attestation of the events at positions "first" to "last": see append(). "lines" has the line of each new
-- event, "digests" the digest of each line, 32 bytes.
CREATE OR REPLACE FUNCTION attest(
    first bigint, last bigint, key bytea, session bytea, serial bigint, signature bytea, digests bytea, numbered integer[], replayed integer[]
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO attestations (first, last, key, session, serial, signature, numbered, replayed, digests)
    VALUES (first, last, key, session, serial, signature, numbered, replayed, coalesce(
        (SELECT string_agg(substring(digests FROM 32 * r.line - 31 FOR 32), '' ORDER BY r.line) FROM unnest(replayed) AS r (line)), ''));
END
$$;
