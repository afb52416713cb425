-- Returns true if the sealed values are exactly those that the body commits to: the same names, and each opens.
CREATE OR REPLACE FUNCTION commitments_open(commitments json, salts json, fields json)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE -- like convert_to(); declared IMMUTABLE, it would not be inlined
AS $$
    SELECT coalesce(bool_and(commitment_opens(f.key, f.value, salts, commitments)), false)
           AND count(DISTINCT f.key) = (SELECT count(*) FROM json_object_keys(commitments))
    FROM json_each(fields) f
$$;
