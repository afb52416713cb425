-- The streams whose sealed values were deleted: an index of the events client.erased and values.erased, for append(), which
-- takes nothing more into such a stream, and for the triggers, which let nothing else be deleted. erase() writes it in the
-- transaction of the events. Verification reads the events.
CREATE TABLE erased_streams (
    stream   text   NOT NULL PRIMARY KEY,
    -- Of the event in this stream that says so: all values before it are gone.
    position bigint NOT NULL CHECK (position > 0)
);

-- Finds these events without reading the others. No row of another type costs anything.
CREATE INDEX events_erasures_idx ON events (position) WHERE type IN ('client.erased', 'values.erased');
