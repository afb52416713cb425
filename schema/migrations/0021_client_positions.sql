-- Since which position the ledger knows the client of a stream: that of the event which named it. A fold up to an earlier
-- position does not have the client, whenever it runs. For streams of earlier versions the position is 0: known always.
ALTER TABLE stream_clients ADD COLUMN position bigint NOT NULL DEFAULT 0;
ALTER TABLE stream_clients ALTER COLUMN position DROP DEFAULT;
