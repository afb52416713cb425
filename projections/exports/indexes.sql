ALTER TABLE exports ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX exports_stream_idx ON exports (stream);
