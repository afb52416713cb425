-- Whether the commitment to this field opens to this value with its salt; false, never null, where one is missing.
-- Simple enough to be inlined.
CREATE OR REPLACE FUNCTION commitment_opens(name text, value json, salts json, commitments json)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE -- as convert_to() is: declared IMMUTABLE, it would not be inlined
AS $$
    SELECT coalesce(
        name ~ '^[a-z][a-z_]*$'
        AND length(salts->>name) = 64
        AND sealed_commitment(name, decode(salts->>name, 'hex'), value) = commitments->>name,
        false
    )
$$;
