ALTER TABLE ai_recommendations ADD PRIMARY KEY (id);
CREATE INDEX ai_recommendations_stream_idx ON ai_recommendations (stream);
CREATE INDEX ai_recommendations_request_id_idx ON ai_recommendations (request_id);
CREATE INDEX ai_recommendations_client_id_idx ON ai_recommendations (client_id);
CREATE INDEX ai_recommendations_created_at_idx ON ai_recommendations (created_at);
CREATE INDEX ai_recommendations_decided_at_idx ON ai_recommendations (decided_at) WHERE decided_at IS NOT NULL;
CREATE INDEX ai_recommendations_communicated_at_idx ON ai_recommendations (communicated_at)
    WHERE communicated_at IS NOT NULL;
CREATE INDEX ai_recommendations_waiting_idx ON ai_recommendations (id) WHERE state = 'waiting';
-- No query searches by these columns, and ANALYZE would take most of its time for their wide values.
ALTER TABLE ai_recommendations
    ALTER recommendation SET STATISTICS 0,
    ALTER parameters SET STATISTICS 0,
    ALTER prompt SET STATISTICS 0,
    ALTER rationale SET STATISTICS 0,
    ALTER second_rules SET STATISTICS 0,
    ALTER replacement SET STATISTICS 0,
    ALTER response SET STATISTICS 0,
    ALTER decline_rationale SET STATISTICS 0,
    ALTER message SET STATISTICS 0;
