-- Reads events and read models, and authenticates callers. It cannot list tokens: it can only look one up by its hash.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON schema_migrations, head, events, sealed_fields, stream_clients, projections, streams_set_aside TO {role};
GRANT SELECT ON tiles, partial_tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT EXECUTE ON FUNCTION authenticate(bytea), agent_exists(text), token_counts(), position_at(timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text), whole_number(text), money(text), truth_value(text) TO {role};
