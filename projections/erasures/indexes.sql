ALTER TABLE erasures ADD PRIMARY KEY (id);
CREATE INDEX erasures_stream_idx ON erasures (stream);
CREATE INDEX erasures_client_idx ON erasures (client, id);
CREATE INDEX erasures_client_id_idx ON erasures (client_id);
CREATE INDEX erasures_waiting_idx ON erasures (id) WHERE state = 'waiting';
