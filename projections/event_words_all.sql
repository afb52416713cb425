-- The ids of all events with these words, in order, by the index of words: few have them, or other filters choose among them.
WITH found AS MATERIALIZED (
    SELECT t.id
    FROM event_texts t
    WHERE t.words @@ search_query(%(text)s) AND t.id >= %(from_id)s AND t.id < %(before_id)s
)
SELECT id FROM found ORDER BY id {}
