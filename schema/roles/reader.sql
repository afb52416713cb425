-- Answers questions: what is recorded, what is derived, who is calling. Of tokens it learns only what a hash it holds stands for.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON schema_migrations, head, events, sealed_fields, stream_clients, projections TO {role};
GRANT SELECT ON tiles, partial_tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT EXECUTE ON FUNCTION authenticate(bytea), agent_exists(text), position_at(timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text) TO {role};
