-- Model calls without an end: those that have been open for at least %(after_s)s seconds, which are the orphans; all of
-- them; and the age of the oldest in seconds.
SELECT count(*) FILTER (WHERE created_at <= statement_timestamp() - %(after_s)s * interval '1 second'),
       count(*),
       coalesce(extract(epoch FROM statement_timestamp() - min(created_at)), 0)::float8
FROM model_calls WHERE state = 'open'
