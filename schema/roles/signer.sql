-- Makes the Merkle log. It signs with a key that the database never sees.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON head, events, attestations TO {role};
GRANT SELECT, INSERT ON tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON partial_tiles TO {role};
GRANT EXECUTE ON FUNCTION lead_signing(), stop_appends(text), adopt_checkpoint(text, uuid, integer, bytea, text, bigint, bytea, bytea, bigint, bytea, bytea) TO {role};
