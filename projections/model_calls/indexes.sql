ALTER TABLE model_calls ADD PRIMARY KEY (id);
CREATE INDEX model_calls_stream_idx ON model_calls (stream);
CREATE INDEX model_calls_request_id_idx ON model_calls (request_id);
CREATE INDEX model_calls_client_id_idx ON model_calls (client_id);
CREATE INDEX model_calls_open_idx ON model_calls (id) WHERE state = 'open';
CREATE INDEX model_calls_created_at_idx ON model_calls (created_at);
-- No query searches by these columns, and ANALYZE would take most of its time for their wide values.
ALTER TABLE model_calls
    ALTER request_parameters SET STATISTICS 0,
    ALTER shown SET STATISTICS 0,
    ALTER response_finish_reasons SET STATISTICS 0,
    ALTER content_positions SET STATISTICS 0;
