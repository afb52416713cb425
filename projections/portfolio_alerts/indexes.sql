ALTER TABLE portfolio_alerts ADD PRIMARY KEY (id);
CREATE INDEX portfolio_alerts_stream_idx ON portfolio_alerts (stream);
CREATE INDEX portfolio_alerts_portfolio_idx ON portfolio_alerts (portfolio, id);
CREATE INDEX portfolio_alerts_client_id_idx ON portfolio_alerts (client_id);
CREATE INDEX portfolio_alerts_open_idx ON portfolio_alerts (id) WHERE state <> 'closed';
