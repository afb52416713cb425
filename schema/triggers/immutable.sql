-- Recorded and signed rows refuse update, delete and truncate, for every role and in every session_replication_role.
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- What an event says is erased may be deleted, and nothing else.
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON sealed_fields
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER check_erased AFTER DELETE ON sealed_fields REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION check_values_erased();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON stream_clients
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER check_erased AFTER DELETE ON stream_clients REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION check_clients_erased();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON erased_streams
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER check_erasure BEFORE INSERT ON erased_streams
    FOR EACH ROW EXECUTE FUNCTION check_erasure();
CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON stream_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON event_types
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER check_head BEFORE UPDATE ON head
    FOR EACH ROW EXECUTE FUNCTION check_head();
CREATE OR REPLACE TRIGGER check_number BEFORE UPDATE ON stream_numbers
    FOR EACH ROW EXECUTE FUNCTION check_number();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER check_checkpoint BEFORE INSERT ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION check_checkpoint();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint_timestamps
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON attestations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON recording_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE attestations ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE recording_keys ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE sealed_fields ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE sealed_fields ENABLE ALWAYS TRIGGER check_erased;
ALTER TABLE stream_clients ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE stream_clients ENABLE ALWAYS TRIGGER check_erased;
ALTER TABLE erased_streams ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE erased_streams ENABLE ALWAYS TRIGGER check_erasure;
ALTER TABLE stream_numbers ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE event_types ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE head ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE head ENABLE ALWAYS TRIGGER check_head;
ALTER TABLE stream_numbers ENABLE ALWAYS TRIGGER check_number;
ALTER TABLE tiles ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE checkpoints ENABLE ALWAYS TRIGGER check_checkpoint;
ALTER TABLE cosignatures ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE checkpoint_timestamps ENABLE ALWAYS TRIGGER refuse_change;

SELECT protect_partition(i.inhrelid) FROM pg_inherits i WHERE i.inhparent = 'sealed_fields'::regclass;
