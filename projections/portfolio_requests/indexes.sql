ALTER TABLE portfolio_requests ADD PRIMARY KEY (id);
CREATE INDEX portfolio_requests_client_id_idx ON portfolio_requests (client_id);
CREATE INDEX portfolio_requests_stream_idx ON portfolio_requests (stream);
CREATE INDEX portfolio_requests_queued_idx ON portfolio_requests (id) WHERE status = 'queued';
CREATE INDEX portfolio_requests_created_at_idx ON portfolio_requests (created_at);
-- No query searches by these columns, and ANALYZE would take most of its time for their wide values.
ALTER TABLE portfolio_requests
    ALTER objectives SET STATISTICS 0,
    ALTER constraints SET STATISTICS 0,
    ALTER notes SET STATISTICS 0,
    ALTER withdrawal_rationale SET STATISTICS 0;
