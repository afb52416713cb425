-- Remembers the numbers that append() gave to new streams in this batch. Called under its lock.
CREATE OR REPLACE FUNCTION record_numbers(streams text[], numbered boolean[])
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO stream_numbers (category, last)
    SELECT regexp_replace(s.stream, '[0-9]+$', '') AS category, max(substring(s.stream FROM '[0-9]+$')::bigint)
    FROM unnest(streams, numbered) AS s (stream, numbered)
    WHERE s.numbered
    GROUP BY 1
    ON CONFLICT (category) DO UPDATE SET last = excluded.last
$$;
