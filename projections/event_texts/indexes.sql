ALTER TABLE event_texts ADD PRIMARY KEY (id);
CREATE INDEX event_texts_stream_idx ON event_texts (stream);
CREATE INDEX event_texts_words_idx ON event_texts USING gin (words);
