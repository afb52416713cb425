ALTER TABLE drift_history ADD PRIMARY KEY (id);
CREATE INDEX drift_history_portfolio_idx ON drift_history (portfolio, id, as_of);
CREATE INDEX drift_history_stream_idx ON drift_history (stream);
