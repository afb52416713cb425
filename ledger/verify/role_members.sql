-- Select the logins that may act in the ledger's roles: members, also by way of other roles, and superusers. The
-- superuser that initdb made (oid 10) always may, so it is left out. Each row has "superuser", or the names of our
-- roles without the schema's. The owner's role is a member of the other roles, so its members may act in all of them:
-- such a login is listed with "owner" alone.
WITH RECURSIVE ours AS (
    SELECT r.oid, n.name
    FROM unnest('{owner,writer,reader,projector,verifier,signer,eraser}'::text[]) n (name)
    JOIN pg_roles r ON r.rolname = current_schema() || '_' || n.name
),
acts (oid, name) AS (
    SELECT m.member, o.name FROM pg_auth_members m JOIN ours o ON o.oid = m.roleid
    UNION
    SELECT m.member, a.name FROM acts a JOIN pg_auth_members m ON m.roleid = a.oid
    WHERE a.oid NOT IN (SELECT oid FROM ours)
)
SELECT m.rolname::text, CASE WHEN m.rolsuper THEN 'superuser' ELSE string_agg(a.name, ', ' ORDER BY a.name) END
FROM pg_roles m
LEFT JOIN acts a ON a.oid = m.oid
WHERE m.oid <> 10 AND m.oid NOT IN (SELECT oid FROM ours) AND (m.rolsuper OR a.name IS NOT NULL)
GROUP BY m.rolname, m.rolsuper
ORDER BY m.rolname
LIMIT 100
