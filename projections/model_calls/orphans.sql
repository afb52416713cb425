-- Model calls that have been open for at least %(after_s)s seconds by the clock of the database, the oldest first.
SELECT id, request_id, agent, request_model AS model, created_at,
       floor(extract(epoch FROM statement_timestamp() - created_at))::bigint AS age_s
FROM model_calls
WHERE state = 'open' AND created_at <= statement_timestamp() - %(after_s)s * interval '1 second'
ORDER BY created_at, id
