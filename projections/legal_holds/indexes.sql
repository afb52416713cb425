ALTER TABLE legal_holds ADD PRIMARY KEY (id);
CREATE INDEX legal_holds_stream_idx ON legal_holds (stream);
CREATE INDEX legal_holds_client_idx ON legal_holds (client, id);
CREATE INDEX legal_holds_client_id_idx ON legal_holds (client_id);
CREATE INDEX legal_holds_active_idx ON legal_holds (id) WHERE state = 'active';
