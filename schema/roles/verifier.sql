-- Verifies events and read models. Changes nothing.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON schema_migrations, head, events, sealed_fields, stream_clients, stream_numbers, projections, streams_set_aside TO {role};
GRANT SELECT ON tiles, partial_tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT EXECUTE ON FUNCTION position_at(timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text), whole_number(text), money(text), truth_value(text) TO {role};
GRANT EXECUTE ON FUNCTION lead_verifying(), token_counts() TO {role};
