-- Updates the read models. projections/rebuild.py grants the rights on the read models themselves.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON head, events, sealed_fields, stream_clients TO {role};
GRANT SELECT, UPDATE ON projections TO {role};
GRANT SELECT, INSERT ON streams_set_aside TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text), whole_number(text), money(text), truth_value(text) TO {role};
GRANT EXECUTE ON FUNCTION occurred_at(jsonb, timestamptz) TO {role};
GRANT EXECUTE ON FUNCTION search_letters(text), search_tokens(text, boolean), search_words(jsonb), search_query(text) TO {role};
