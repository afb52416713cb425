-- Appends events and claims requests, only through functions. It cannot read or change a table itself.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION append(text), check_append(boolean), check_history(bigint[], bytea[]), claim_requests(text, interval, integer), hold_claims(text, interval, bigint[]) TO {role};
