-- Copy the full tiles of one level that lead the selected events to the root, in order.
COPY (
    SELECT t.number, t.hashes
    FROM tiles t
    WHERE t.level = {level} AND t.number < {full}
      AND t.number IN (SELECT DISTINCT (e.position - 1) >> {shift} FROM events e WHERE {which} AND e.position <= {size})
    ORDER BY t.number
) TO STDOUT (FORMAT BINARY)
