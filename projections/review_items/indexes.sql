ALTER TABLE review_items ADD PRIMARY KEY (id);
CREATE INDEX review_items_stream_idx ON review_items (stream);
CREATE INDEX review_items_assignee_idx ON review_items (assignee, id);
CREATE INDEX review_items_sample_idx ON review_items (sample, id);
