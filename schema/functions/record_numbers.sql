-- Stores the highest number of each category in which append() assigns numbers. Counts the new streams of this batch: those
-- that append() named ("numbered") and those that callers named with a number. Called by append() under its lock.
CREATE OR REPLACE FUNCTION record_numbers(streams text[], versions bigint[], numbered boolean[])
RETURNS void
LANGUAGE plpgsql -- keeps its plan between calls; sql does not
AS $$
BEGIN
    INSERT INTO stream_numbers AS known (category, last)
    SELECT f.category, max(stream_number(f.stream, f.category))
    FROM (
        SELECT s.stream, rtrim(s.stream, '0123456789') AS category, s.numbered
        FROM unnest(streams, versions, numbered) AS s (stream, version, numbered)
        WHERE s.version = 1
    ) f
    WHERE f.numbered OR EXISTS (SELECT FROM stream_numbers k WHERE k.category = f.category)
    GROUP BY f.category
    HAVING max(stream_number(f.stream, f.category)) IS NOT NULL
    ON CONFLICT (category) DO UPDATE SET last = excluded.last WHERE known.last < excluded.last;
END
$$;
