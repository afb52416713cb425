ALTER TABLE subjects ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX subjects_stream_idx ON subjects (stream);
CREATE INDEX subjects_name_idx ON subjects (name);
