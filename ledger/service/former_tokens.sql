-- The rows of the former table of tokens, the oldest first, and whether an agent is suspended by events of its own stream.
SELECT t.name, t.role, encode(t.hash, 'hex'), t.revoked_at,
       t.role = 'agent' AND coalesce(
           (SELECT e.type = 'agent.suspended' FROM events e
            WHERE e.stream = 'agent-' || t.name AND e.type IN ('agent.suspended', 'agent.resumed')
            ORDER BY e.version DESC LIMIT 1), false)
FROM former_tokens t
ORDER BY t.created_at, t.name
