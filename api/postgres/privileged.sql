-- Select the logins that can do more than act in the ledger's roles. Parameters: owner, and logins; without logins,
-- the session's login.
SELECT rolname FROM pg_roles
WHERE rolname = ANY (CASE WHEN cardinality(%(logins)s::text[]) = 0 THEN ARRAY[session_user::text] ELSE %(logins)s::text[] END)
  AND (rolsuper OR rolcreaterole OR pg_has_role(oid, %(owner)s, 'MEMBER'))
ORDER BY rolname
