ALTER TABLE portfolios ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX portfolios_stream_idx ON portfolios (stream);
CREATE INDEX portfolios_name_idx ON portfolios (name);
CREATE INDEX portfolios_client_id_idx ON portfolios (client_id);
