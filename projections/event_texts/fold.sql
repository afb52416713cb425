-- One row for each event with sealed fields: the words of their texts, for a search.
SELECT
    stream,
    position AS id,
    search_words(sealed) AS words,
    recorded_at AS created_at
FROM slice
WHERE commitments IS NOT NULL
