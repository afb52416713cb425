-- Remembers the highest number of each category that append() has given numbers in, with the new streams of this batch:
-- those it named itself ("numbered") and those that came with a number of their own. Called under its lock.
CREATE OR REPLACE FUNCTION record_numbers(streams text[], versions bigint[], numbered boolean[])
RETURNS void
LANGUAGE plpgsql -- which keeps its plan from call to call, as sql does not
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
