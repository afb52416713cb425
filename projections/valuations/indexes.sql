ALTER TABLE valuations ADD PRIMARY KEY (id);
CREATE INDEX valuations_stream_idx ON valuations (stream);
CREATE INDEX valuations_portfolio_idx ON valuations (portfolio, id);
CREATE INDEX valuations_client_id_idx ON valuations (client_id, id);
