ALTER TABLE samples ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX samples_stream_idx ON samples (stream);
