-- Reads events and read models.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON schema_migrations, event_types, head, events, sealed_fields, stream_clients, projections, streams_set_aside, request_claims, credential_uses, jobs, stream_numbers TO {role};
GRANT SELECT ON tiles, partial_tiles, checkpoints, cosignatures, checkpoint_timestamps TO {role};
GRANT EXECUTE ON FUNCTION authenticate(bytea), position_at(timestamptz), last_number(text) TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text), whole_number(text), money(text), truth_value(text) TO {role};
GRANT EXECUTE ON FUNCTION occurred_at(jsonb, timestamptz), acted_at(text, timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION search_letters(text), search_tokens(text, boolean), search_words(jsonb), search_query(text) TO {role};
