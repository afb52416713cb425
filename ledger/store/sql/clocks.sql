-- Select the database's clock, in seconds since 1970; the seconds by which the last event is ahead of it; and the
-- position since which recorded times stand still, because they never go back. The last two are NULL if the event is
-- not ahead.
SELECT extract(epoch FROM clock_timestamp())::float8,
       CASE WHEN ahead.by > 1 THEN ahead.by END,
       CASE WHEN ahead.by > 1 THEN position_at(clock_timestamp()) + 1 END
FROM head h CROSS JOIN LATERAL (
    SELECT CASE WHEN isfinite(h.recorded_at) THEN extract(epoch FROM h.recorded_at - clock_timestamp())::float8 END AS by
) ahead
