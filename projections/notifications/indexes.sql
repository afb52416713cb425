ALTER TABLE notifications ADD PRIMARY KEY (id);
CREATE INDEX notifications_stream_idx ON notifications (stream);
CREATE INDEX notifications_run_idx ON notifications (run, id);
CREATE INDEX notifications_client_id_idx ON notifications (client_id);
