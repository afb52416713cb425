ALTER TABLE event_index ADD PRIMARY KEY (id);
-- Each index gives a page in the order in which the events took place.
-- Every event has a version. The condition lets a search say whether it wants this index: projections/event_search.py.
CREATE INDEX event_index_occurred_idx ON event_index (occurred_at, id) WHERE version > 0;
CREATE INDEX event_index_stream_idx ON event_index (stream, id);
CREATE INDEX event_index_type_idx ON event_index (type, occurred_at, id);
CREATE INDEX event_index_actor_idx ON event_index (actor, occurred_at, id);
CREATE INDEX event_index_role_idx ON event_index (role, occurred_at, id);
-- Few events have a model, an outcome or an amount.
CREATE INDEX event_index_model_idx ON event_index (model, occurred_at, id) WHERE model IS NOT NULL;
CREATE INDEX event_index_outcome_idx ON event_index (outcome, occurred_at, id) WHERE outcome IS NOT NULL;
CREATE INDEX event_index_amount_idx ON event_index (amount_usd, id) WHERE amount_usd IS NOT NULL;
-- Where imported events stand: there, positions and times do not rise together.
CREATE INDEX event_index_imported_idx ON event_index (id) WHERE imported_by IS NOT NULL;
