ALTER TABLE findings ADD PRIMARY KEY (id);
CREATE INDEX findings_stream_idx ON findings (stream);
CREATE INDEX findings_request_id_idx ON findings (request_id);
CREATE INDEX findings_client_id_idx ON findings (client_id);
CREATE INDEX findings_assignee_idx ON findings (assignee, id);
