-- Appends. It can read and change nothing by itself: the functions do it for it.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION append(text), claim_requests(text, interval, integer), hold_claims(text, interval, bigint[]) TO {role};
