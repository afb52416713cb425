-- One row for each record that somebody read data of clients, exported it, or was refused.
SELECT
    stream,
    position AS id,
    data->>'subject' AS subject,
    data->>'role' AS role,
    whole_number(data->>'credential') AS credential,
    data->>'action' AS action,
    data->>'resource' AS resource,
    data->'parameters' AS parameters,
    CASE WHEN jsonb_typeof(data->'requests') = 'array'
         THEN ARRAY(SELECT whole_number(n) FROM jsonb_array_elements_text(data->'requests') n) END AS requests,
    CASE WHEN jsonb_typeof(data->'clients') = 'array'
         THEN ARRAY(SELECT whole_number(n) FROM jsonb_array_elements_text(data->'clients') n) END AS clients,
    whole_number(data->>'rows') AS rows,
    data->>'reason' AS reason,
    recorded_at AS created_at
FROM slice
WHERE type = 'access.recorded' AND starts_with(stream, 'access-')
