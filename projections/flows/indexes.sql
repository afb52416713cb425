ALTER TABLE flows ADD PRIMARY KEY (id);
CREATE INDEX flows_stream_idx ON flows (stream);
CREATE INDEX flows_portfolio_idx ON flows (portfolio, id);
CREATE INDEX flows_client_id_idx ON flows (client_id, id);
