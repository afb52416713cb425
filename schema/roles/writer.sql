-- Appends events, claims requests, and asks for and runs jobs, only through functions. It cannot read or change a table itself. It may see who keeps
-- appends out, and end those that do for too long.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION append(text[], uuid[], text[], text[], integer[], text[], text[], integer[], text[], bytea[], text[], bigint, text[], bytea, bytea, bigint, bytea, bytea), append(text), check_append(boolean), check_recorder(bytea), check_history(bigint[], bytea[]), claim_requests(text, interval, integer), hold_claims(text, interval, bigint[]), claim_request(text, interval, bigint, bigint), note_uses(text[], integer[], timestamptz[]) TO {role};
GRANT EXECUTE ON FUNCTION ask_job(uuid, text, text, text, interval, integer), claim_job(text, text[], interval), hold_job(bigint, text, integer, interval, bigint, bigint), put_back_job(bigint, text, integer, interval, text, boolean), end_job(bigint, text, integer, text, text, interval, bigint, bigint), cancel_job(bigint, interval), forget_job(bigint), take_delivery_slot(text, integer) TO {role};
GRANT EXECUTE ON FUNCTION append_blockers(), end_append_blockers() TO {role};
