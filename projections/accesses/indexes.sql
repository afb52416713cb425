ALTER TABLE accesses ADD PRIMARY KEY (id);
CREATE INDEX accesses_stream_idx ON accesses (stream);
CREATE INDEX accesses_subject_idx ON accesses (subject, id);
CREATE INDEX accesses_created_at_idx ON accesses (created_at);
-- Who read about a client: by the client's requests, and its numbers.
CREATE INDEX accesses_requests_idx ON accesses USING gin (requests);
CREATE INDEX accesses_clients_idx ON accesses USING gin (clients);
