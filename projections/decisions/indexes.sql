ALTER TABLE decisions ADD PRIMARY KEY (id);
CREATE INDEX decisions_stream_idx ON decisions (stream);
CREATE INDEX decisions_recommendation_id_idx ON decisions (recommendation_id);
CREATE INDEX decisions_request_id_idx ON decisions (request_id);
CREATE INDEX decisions_client_id_idx ON decisions (client_id);
CREATE INDEX decisions_decided_by_idx ON decisions (decided_by, id);
CREATE INDEX decisions_waiting_idx ON decisions (id) WHERE state = 'waiting';
CREATE INDEX decisions_created_at_idx ON decisions (created_at);
CREATE INDEX decisions_communicated_at_idx ON decisions (communicated_at) WHERE communicated_at IS NOT NULL;
-- No query searches by these columns, and ANALYZE would take most of its time for their wide values.
ALTER TABLE decisions
    ALTER rationale SET STATISTICS 0,
    ALTER replacement SET STATISTICS 0,
    ALTER response SET STATISTICS 0,
    ALTER second_rules SET STATISTICS 0,
    ALTER second_rationale SET STATISTICS 0,
    ALTER end_rationale SET STATISTICS 0,
    ALTER decline_rationale SET STATISTICS 0,
    ALTER review_note SET STATISTICS 0;
