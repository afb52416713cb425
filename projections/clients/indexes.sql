ALTER TABLE clients ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX clients_stream_idx ON clients (stream);
CREATE INDEX clients_client_id_idx ON clients (client_id);
CREATE INDEX clients_merged_into_idx ON clients (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX clients_created_at_idx ON clients (created_at);
CREATE INDEX clients_subjects_idx ON clients USING gin (subjects);
CREATE INDEX clients_groups_idx ON clients USING gin (groups);
