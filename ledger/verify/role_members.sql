-- Who may act in the ledger's roles besides these: members, also by way of other roles, and superusers. The superuser that
-- the server began with (oid 10) always may. Others each have "superuser", or the names of our roles without the schema's.
SELECT m.rolname::text,
       CASE WHEN m.rolsuper THEN 'superuser' ELSE string_agg(ours.name, ', ' ORDER BY ours.name) END
FROM pg_roles m
CROSS JOIN unnest('{owner,writer,reader,projector,verifier,signer}'::text[]) ours (name)
JOIN pg_roles r ON r.rolname = current_schema() || '_' || ours.name
WHERE m.oid <> 10
  AND m.rolname <> ALL (SELECT current_schema() || '_' || name
                        FROM unnest('{owner,writer,reader,projector,verifier,signer}'::text[]) name)
  AND pg_has_role(m.oid, r.oid, 'MEMBER')
GROUP BY m.rolname, m.rolsuper
ORDER BY m.rolname
LIMIT 100
