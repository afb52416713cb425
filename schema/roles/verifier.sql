-- Verifies events and read models, and reads all that is recorded for a backup. Changes nothing.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON schema_migrations, head, events, attestations, sealed_fields, stream_clients, erased_streams, stream_numbers, event_types, recording_keys, projections, streams_set_aside TO {role};
GRANT SELECT ON tiles, partial_tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT EXECUTE ON FUNCTION position_at(timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text), whole_number(text), money(text), truth_value(text) TO {role};
GRANT EXECUTE ON FUNCTION occurred_at(jsonb, timestamptz), acted_at(text, timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION search_letters(text), search_tokens(text, boolean), search_words(jsonb), search_query(text) TO {role};
GRANT EXECUTE ON FUNCTION lead_verifying(), verifier_idle_s() TO {role};
