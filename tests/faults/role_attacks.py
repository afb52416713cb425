"""What a login of one of the ledger's roles might try, and must not be able to do: a statement for each attack."""

from __future__ import annotations

# Refused to each role but those in PERMITTED. `events` is for every table of record.
REFUSED = {
    # What is recorded.
    "update events": "UPDATE ledger.events SET body = body",
    "delete events": "DELETE FROM ledger.events",
    "truncate events": "TRUNCATE ledger.events CASCADE",
    "insert an event": "INSERT INTO ledger.events SELECT * FROM ledger.events LIMIT 1",
    "copy into events": "COPY ledger.events FROM '/dev/null'",
    "update the head": "UPDATE ledger.head SET position = 0",
    "delete the head": "DELETE FROM ledger.head",
    "lock the head": "SELECT FROM ledger.head FOR UPDATE",
    "lock events": "LOCK TABLE ledger.events IN ACCESS EXCLUSIVE MODE",
    "update sealed fields": "UPDATE ledger.sealed_fields SET fields = fields",
    "delete sealed fields": "DELETE FROM ledger.sealed_fields",
    "delete the index of clients": "DELETE FROM ledger.stream_clients",
    # A statement that names a partition, or makes another one; what a scrub does as the owner.
    "read a partition": "TABLE ledger.sealed_fields_0",
    "update a partition": "UPDATE ledger.sealed_fields_0 SET fields = fields",
    "delete a partition": "DELETE FROM ledger.sealed_fields_0",
    "truncate a partition": "TRUNCATE ledger.sealed_fields_0",
    "insert into a partition": "INSERT INTO ledger.sealed_fields_0 SELECT * FROM ledger.sealed_fields LIMIT 1",
    "detach a partition": "ALTER TABLE ledger.sealed_fields DETACH PARTITION ledger.sealed_fields_0",
    "make a partition": "CREATE TABLE ledger.mine PARTITION OF ledger.sealed_fields FOR VALUES FROM (0) TO (1)",
    "drop a partition": "DROP TABLE ledger.sealed_fields_0",
    "protect a partition": "SELECT ledger.protect_partition('ledger.sealed_fields')",
    "make a twin": "SELECT ledger.make_twin('ledger.sealed_fields', 'ledger.events')",
    # Erasures.
    "erase": f"SELECT ledger.erase({', '.join(['NULL'] * 14)})",
    "write an erased stream": "INSERT INTO ledger.erased_streams VALUES ('client-1', 1)",
    "forget an erased stream": "DELETE FROM ledger.erased_streams",
    # Jobs are made and ended by functions alone.
    "make a job": "INSERT INTO ledger.jobs DEFAULT VALUES",
    "ask for a job": "SELECT ledger.ask_job(NULL, 'dispose', '{}', 'eve', '0 s', 1)",
    "change jobs": "UPDATE ledger.jobs SET state = 'done'",
    "delete jobs": "DELETE FROM ledger.jobs",
    "update numbers": "UPDATE ledger.stream_numbers SET last = 0",
    "delete checkpoints": "DELETE FROM ledger.checkpoints",
    "update tiles": "UPDATE ledger.tiles SET hashes = hashes",
    "delete types of events": "DELETE FROM ledger.event_types",
    # Who may call, who leads, and the history of migrations.
    "record an event": "SELECT ledger.append('')",
    "read credentials": "TABLE ledger.credentials",
    "make a credential": "INSERT INTO ledger.credentials DEFAULT VALUES",
    "change credentials": "UPDATE ledger.credentials SET revoked_at = NULL",
    "delete credentials": "DELETE FROM ledger.credentials",
    "read subjects": "TABLE ledger.subjects",
    "make a subject": "INSERT INTO ledger.subjects DEFAULT VALUES",
    "change subjects": "UPDATE ledger.subjects SET roles = '{admin}', suspended = false",
    "delete subjects": "DELETE FROM ledger.subjects",
    "make a recording key": "INSERT INTO ledger.recording_keys VALUES (sha256('eve'), 0, NULL)",
    "delete recording keys": "DELETE FROM ledger.recording_keys",
    "make an attestation": "INSERT INTO ledger.attestations DEFAULT VALUES",
    "delete attestations": "DELETE FROM ledger.attestations",
    "take the lead of rebuilds": "SELECT ledger.take_lead('owner')",
    "write a leader": "UPDATE ledger.leaders SET pid = pg_backend_pid()",
    "lock the leaders": "SELECT FROM ledger.leaders FOR UPDATE",
    "lock the migrations": "LOCK TABLE ledger.schema_migrations IN SHARE ROW EXCLUSIVE MODE",
    "forget a migration": "DELETE FROM ledger.schema_migrations",
    # The rules of the database.
    "disable a trigger": "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
    "drop a trigger": "DROP TRIGGER refuse_change ON ledger.events",
    "make a trigger": "CREATE TRIGGER mine BEFORE INSERT ON ledger.events EXECUTE FUNCTION ledger.refuse_change()",
    "make a rule": "CREATE RULE mine AS ON INSERT TO ledger.events DO INSTEAD NOTHING",
    "drop a table": "DROP TABLE ledger.events CASCADE",
    "drop the schema": "DROP SCHEMA ledger CASCADE",
    "replace append": "CREATE OR REPLACE FUNCTION ledger.append(batch text) RETURNS void LANGUAGE sql AS ''",
    "alter append": "ALTER FUNCTION ledger.append(text) SECURITY INVOKER",
    "make a table in the schema": "CREATE TABLE ledger.mine ()",
    "make a schema": "CREATE SCHEMA mine",
    "make a temporary table": "CREATE TEMP TABLE events ()",
    "leave the triggers out": "SET session_replication_role = replica",
    "make an event trigger": "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION ledger.refuse_change()",
    # Of a table that a role may read, GRANT would only warn; it grants nothing, as no role has a grant option.
    "grant": "GRANT ledger_owner TO CURRENT_USER",
    # The server.
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "write a file": "SELECT lo_export(lo_from_bytea(0, ''), '/tmp/mine')",
    "set the server": "ALTER SYSTEM SET fsync = off",
    "set the database": "ALTER DATABASE advice_ledger SET default_transaction_read_only = on",
    "drop the database": "DROP DATABASE advice_ledger",
    "make an extension": "CREATE EXTENSION file_fdw",
    "become the owner": "SET ROLE ledger_owner",
    "become the superuser": "SET SESSION AUTHORIZATION postgres",
    "make a superuser": "CREATE ROLE eve SUPERUSER LOGIN",
    "be granted the owner": "GRANT ledger_owner TO CURRENT_USER",
    "take over another role": "ALTER ROLE ledger_owner LOGIN PASSWORD 'eve'",
    "subscribe": "CREATE PUBLICATION mine FOR ALL TABLES",
    "make a replication slot": "SELECT pg_create_physical_replication_slot('mine')",
}
# Whose own work it is. The projector's rows let nobody in: authentication believes only the chain
# (tests/api/http/test_tokens.py).
PERMITTED = {
    "record an event": {"writer"},
    "erase": {"eraser"},
    "ask for a job": {"writer"},
    "read credentials": {"reader", "projector", "eraser", "verifier"},
    "make a credential": {"projector", "eraser"},
    "delete credentials": {"projector", "eraser"},
    "read subjects": {"reader", "projector", "eraser", "verifier"},
    "make a subject": {"projector", "eraser"},
    "delete subjects": {"projector", "eraser"},
}
# Permitted to everybody who can connect, and held while others work. Nothing of it may stop anybody.
HELD = (
    "SELECT pg_try_advisory_lock(lock) FROM unnest('{1,1095499777,1095499778,1095499779,1095499780}'::bigint[]) lock",
    "SELECT pg_try_advisory_lock(lock, hashtext('ledger')) FROM generate_series(1095499778, 1095499780) lock",
    "LISTEN ledger",
    "SELECT pg_notify('ledger', payload) FROM unnest('{x,-1,99999999999999999999}'::text[]) payload",
    "SELECT lo_from_bytea(0, repeat('x', 100000)::bytea)",
    "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on",
    "ALTER ROLE CURRENT_USER SET statement_timeout = '1ms'",
    "ALTER ROLE CURRENT_USER SET search_path = pg_temp",
    "ALTER ROLE CURRENT_USER SET role = none",
    "BEGIN",
)
# Everything that the login can read is read, and stays locked against changes of the table by the transaction.
READABLE = """
    SELECT format('SELECT FROM %I.%I LIMIT 1', relnamespace::regnamespace, relname)
    FROM pg_class
    WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'ledger'::regnamespace AND has_table_privilege(oid, 'SELECT')
"""
# The modes of locks, the strongest first, and all tables and views to lock.
MODES = ("ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE", "ROW EXCLUSIVE", "ROW SHARE", "ACCESS SHARE")
LOCKABLE = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'ledger'::regnamespace ORDER BY 1"
)
# The tables that are a role's own work: it may write them, and so lock them. While it does, that work stands still.
OWN_TABLES = {
    "projector": "SELECT name FROM ledger.projections UNION SELECT 'projections'",
    "eraser": "SELECT name FROM ledger.projections UNION SELECT 'projections'",
    "signer": "SELECT 'partial_tiles'",
}
HAS_SESSION = "SELECT FROM pg_stat_activity WHERE usename = %s AND application_name LIKE 'advice-ledger%%'"
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND usename = %s AND application_name LIKE 'advice-ledger%%'
"""
