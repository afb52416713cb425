-- Select the logins that are members of this ledger's roles: role, login.
SELECT r.rolname::text, m.rolname::text
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE r.rolname = ANY (SELECT current_schema() || '_' || unnest(%(roles)s::text[])) AND m.rolcanlogin
ORDER BY r.rolname, m.rolname
