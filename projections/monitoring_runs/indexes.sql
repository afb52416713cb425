ALTER TABLE monitoring_runs ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX monitoring_runs_stream_idx ON monitoring_runs (stream);
