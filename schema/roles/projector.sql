-- Keeps the read models. Rights on the read models themselves are given where they are built (projections/rebuild.py).
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON head, events, sealed_fields, stream_clients TO {role};
GRANT SELECT, UPDATE ON projections TO {role};
GRANT EXECUTE ON FUNCTION stream_number(text, text) TO {role};
