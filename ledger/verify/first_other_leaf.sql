-- Select the first event in a part of the chain whose leaf differs from the leaf in the stored tiles. Compare whole
-- tiles first, and then the leaves of the first tile that differs. Run only if a checkpoint does not match the events.
WITH tile AS (
    SELECT t.number, t.hashes
    FROM tiles t
    WHERE t.level = 0
      AND t.number BETWEEN %(after)s >> 8 AND (%(upto)s - 1) >> 8
      AND t.hashes IS DISTINCT FROM (
          SELECT string_agg(sha256('\x00'::bytea || e.hash), ''::bytea ORDER BY e.position)
          FROM events e
          WHERE e.position > t.number << 8 AND e.position <= (t.number + 1) << 8
      )
    ORDER BY t.number
    LIMIT 1
)
SELECT e.position
FROM tile t
JOIN events e ON e.position > t.number << 8 AND e.position <= (t.number + 1) << 8
WHERE e.position > %(after)s AND e.position <= %(upto)s
  AND substring(t.hashes FROM ((e.position - 1) & 255)::integer * 32 + 1 FOR 32)
      IS DISTINCT FROM sha256('\x00'::bytea || e.hash)
ORDER BY e.position
LIMIT 1
