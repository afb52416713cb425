-- Select the streams of the agents that acted in the events `happened`, and of the policies. A part of window.sql and
-- referred.sql.
SELECT 'agent-' || substring(h.body FROM '"id":"([^"]+)","kind":"agent"') FROM happened h
UNION
SELECT 'policy-' || name
FROM unnest(ARRAY['access', 'four-eyes', 'reason-codes', 'retention', 'signed-acts']) AS p (name)
WHERE EXISTS (SELECT FROM happened)
