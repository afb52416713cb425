-- One row for each credential that was issued to a subject, and for each signing key that it registered: what it is, and
-- when it ended or will end. A number is used once in a stream; a second event with the same number does not count.
-- Authentication finds a subject by this table, and believes only what the stream of that subject says
-- (ledger/domain/subject.py).
WITH changes AS MATERIALIZED (
    SELECT stream, position, type, recorded_at, actor->>'id' AS actor_id, data, sealed,
           whole_number(data->>'credential') AS number
    FROM slice
    WHERE type IN ('credential.issued', 'signing-key.registered', 'credential.revoked') AND starts_with(stream, 'subject-')
),
issued AS (
    SELECT DISTINCT ON (stream, number) *, whole_number(data->>'replaces') AS replaces,
           (data->>'expires_at')::timestamptz AS expires_at, (data->>'replaced_until')::timestamptz AS replaced_until
    FROM changes
    WHERE type <> 'credential.revoked'
    ORDER BY stream, number, position
),
-- A credential that was replaced without grace ended with the event that replaced it.
replaced AS (
    SELECT old.position AS id, min(new.number) AS replaced_by, min(new.replaced_until) AS until,
           min(new.recorded_at) FILTER (WHERE new.replaced_until IS NULL) AS ended_at
    FROM issued old
    JOIN issued new ON new.stream = old.stream AND new.replaces = old.number AND new.position > old.position
    GROUP BY old.position
),
revoked AS (
    SELECT DISTINCT ON (i.position) i.position AS id, r.recorded_at, r.actor_id, r.sealed->>'reason' AS reason
    FROM issued i
    JOIN changes r ON r.stream = i.stream AND r.number = i.number AND r.position > i.position
    WHERE r.type = 'credential.revoked'
    ORDER BY i.position, r.position
)
SELECT
    issued.stream,
    issued.position AS id,
    substr(issued.stream, length('subject-') + 1) AS subject,
    issued.number AS credential,
    coalesce(issued.data->>'kind', 'signing-key') AS kind,
    issued.data->>'sha256' AS sha256,
    issued.data->>'issuer' AS issuer,
    issued.sealed->>'identity' AS identity,
    issued.expires_at,
    least(issued.expires_at, replaced.until) AS ends_at,
    issued.replaces,
    replaced.replaced_by,
    issued.actor_id AS issued_by,
    issued.recorded_at AS created_at,
    least(revoked.recorded_at, replaced.ended_at) AS revoked_at,
    revoked.actor_id AS revoked_by,
    revoked.reason AS revoke_reason
FROM issued
LEFT JOIN replaced ON replaced.id = issued.position
LEFT JOIN revoked ON revoked.id = issued.position
