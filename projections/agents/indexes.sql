ALTER TABLE agents ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX agents_stream_idx ON agents (stream);
CREATE INDEX agents_name_idx ON agents (name);
