ALTER TABLE deliveries ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX deliveries_stream_idx ON deliveries (stream);
CREATE INDEX deliveries_state_idx ON deliveries (state, id);
CREATE INDEX deliveries_endpoint_idx ON deliveries (endpoint, attempted_at);
