-- The newest recommendations of each client, without the prompt and other wide columns; from the fold put in below.
SELECT * FROM (
    SELECT id, request_id, client_id, recommendation, model_name, model_version, state, digest, supersedes,
           superseded_by, decision_id, outcome, decided_by, decided_at, reason_code, reason_group, rationale,
           replacement, response, communicated_at, created_at, updated_at,
           row_number() OVER (PARTITION BY client_id ORDER BY id DESC) AS nth
    FROM ({}) folded
) model
WHERE nth <= %(most)s
ORDER BY client_id, id DESC
