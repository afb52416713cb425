-- The ids of the first events with these words, by the index of words. They are kept while they are read, and not sorted: "+ 0"
-- hides from the planner that the primary key has this order, by which it would look through all events that have others.
SELECT t.id + 0 AS id
FROM event_texts t
WHERE t.words @@ search_query(%(text)s) AND t.id >= %(from_id)s AND t.id < %(before_id)s
ORDER BY t.id + 0 {}
LIMIT %(limit)s
