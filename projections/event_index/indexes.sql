ALTER TABLE event_index ADD PRIMARY KEY (id);
CREATE INDEX event_index_stream_idx ON event_index (stream, id);
CREATE INDEX event_index_type_idx ON event_index (type, id);
CREATE INDEX event_index_actor_idx ON event_index (actor, id);
CREATE INDEX event_index_role_idx ON event_index (role, id);
-- Few events have a model, an outcome or an amount.
CREATE INDEX event_index_model_idx ON event_index (model, id) WHERE model IS NOT NULL;
CREATE INDEX event_index_outcome_idx ON event_index (outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX event_index_amount_idx ON event_index (amount_usd, id) WHERE amount_usd IS NOT NULL;
-- Of imported events.
CREATE INDEX event_index_occurred_idx ON event_index (occurred_at, id) WHERE occurred_at IS NOT NULL;
