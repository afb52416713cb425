-- The newest thousand calls that have ended, counted by agent, state and error; and how many of them are among the last
-- five calls of their agent.
SELECT agent, state, coalesce(error_type, ''), count(*), count(*) FILTER (WHERE nth <= 5)
FROM (
    SELECT agent, state, error_type, row_number() OVER (PARTITION BY agent ORDER BY id DESC) AS nth
    FROM (SELECT agent, state, error_type, id FROM model_calls WHERE state <> 'open' ORDER BY id DESC LIMIT 1000) ended
) newest
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
