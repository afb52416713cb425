-- Returns true if the commitment to this field opens to this value with its salt; false, never null, if the commitment or
-- the salt is missing. Simple enough to be inlined.
CREATE OR REPLACE FUNCTION commitment_opens(name text, value json, salts json, commitments json)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE -- like convert_to(); declared IMMUTABLE, it would not be inlined
AS $$
    SELECT coalesce(
        name ~ '^[a-z][a-z_]*$'
        AND length(salts->>name) = 64
        AND sealed_commitment(name, decode(salts->>name, 'hex'), value) = commitments->>name,
        false
    )
$$;
