-- Notes when credentials were last used: subject, credential and time of each. A time never goes back, and names without a
-- stream are left out, so that the table has no more rows than there are credentials.
CREATE OR REPLACE FUNCTION note_uses(subjects text[], credentials integer[], times timestamptz[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path FROM CURRENT
SET standard_conforming_strings = on
AS $$
    INSERT INTO credential_uses AS noted (subject, credential, last_used_at)
    SELECT u.subject, u.credential, max(u.used)
    FROM unnest(subjects, credentials, times) u(subject, credential, used)
    WHERE EXISTS (
        SELECT FROM events e
        WHERE e.stream = 'subject-' || u.subject AND e.type IN ('credential.issued', 'signing-key.registered')
          AND (e.body::json->'data'->>'credential')::integer = u.credential
    )
    GROUP BY u.subject, u.credential
    ORDER BY u.subject, u.credential
    ON CONFLICT (subject, credential) DO UPDATE SET last_used_at = excluded.last_used_at
        WHERE noted.last_used_at < excluded.last_used_at
$$;
