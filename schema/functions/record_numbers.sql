-- Stores the highest number of each category in which append() assigns numbers. Counts the new streams of this batch: those
-- that append() named ("numbered") and those that callers named with a number. Called by append() under its lock.
--
-- Refuses (AL008) a stream whose number would use up the numbers. They end at 2^53 - 1, and a number that is given out
-- follows the highest one. So a caller's number is at most the next one; in a batch it may be as many further as the batch
-- has new streams. In a category without numbers so far, which may get them later, it is at most 2^52. A longer number is
-- a name there, such as that of a trace. Only categories that end with a letter and "-" get numbers: with
-- "verification-2026-11-", the dates that follow would be numbers beyond the next one.
CREATE OR REPLACE FUNCTION record_numbers(streams text[], versions bigint[], numbered boolean[])
RETURNS void
LANGUAGE plpgsql -- keeps its plan between calls; sql does not
AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT n.*, (SELECT k.last FROM stream_numbers k WHERE k.category = n.category) AS last
        FROM (
            SELECT s.category, count(*) AS streams, bool_or(s.numbered) AS numbered,
                   max(stream_number(s.stream, s.category)) AS highest,
                   max(stream_number(s.stream, s.category)) FILTER (WHERE NOT s.numbered) AS chosen,
                   bool_or(octet_length(s.stream) > octet_length(s.category) + 18) AS long
            FROM (
                SELECT l.stream, rtrim(l.stream, '0123456789') AS category, l.numbered
                FROM unnest(streams, versions, numbered) AS l (stream, version, numbered)
                WHERE l.version = 1
            ) s
            WHERE right(s.category, 1) = '-'
            GROUP BY s.category
        ) n
    LOOP
        IF found.numbered AND found.category !~ '[a-z]-$' THEN
            PERFORM refuse_append('AL008', 'streams of this category are not numbered', NULL, NULL, found.category);
        END IF;
        IF found.chosen > coalesce(found.last + found.streams, 1::bigint << 52) OR (found.long AND found.last IS NOT NULL) THEN
            PERFORM refuse_append('AL008', format('a new stream %s… has a number beyond the next one', left(found.category, 100)),
                                  NULL, NULL, found.category, (found.last + 1)::text, found.chosen);
        END IF;
        IF found.highest > coalesce(found.last, 0) AND (found.numbered OR found.last IS NOT NULL) THEN
            INSERT INTO stream_numbers AS known (category, last)
            VALUES (found.category, found.highest)
            ON CONFLICT (category) DO UPDATE SET last = excluded.last WHERE known.last < excluded.last;
        END IF;
    END LOOP;
END
$$;
