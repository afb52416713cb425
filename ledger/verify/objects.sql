-- Select the objects of the ledger's schema, and the objects of the database that affect it: event triggers, settings,
-- and rights of PUBLIC and of our roles. Each row has the subject, the name and the description of an object. These
-- are the same on each version of PostgreSQL and for each name of the schema: our roles are without its name.
-- Differences between versions of PostgreSQL are left out: NOT NULL as a named constraint (18), and the owner's own
-- rights (MAINTAIN came with 17).
WITH RECURSIVE place AS (
    SELECT n.oid, n.nspowner, n.nspacl, current_schema()::text AS name
    FROM pg_namespace n
    WHERE n.nspname = current_schema()
),
-- The partitions of the sealed values. Their number and names differ between ledgers; everything else is the same.
partitions AS (
    SELECT c.*, i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('sealed_fields')
),
relations AS (
    SELECT c.* FROM pg_class c JOIN place ON c.relnamespace = place.oid
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND c.oid NOT IN (SELECT p.oid FROM partitions p)
),
functions AS (
    SELECT p.*, format('function %s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS object
    FROM pg_proc p JOIN place ON p.pronamespace = place.oid
),
-- Roles of the server: our roles by their name without the schema's, others in quotes.
roles AS (
    SELECT r.oid, r.rolname, ours.name IS NOT NULL AS is_ours, coalesce(ours.name, quote_literal(r.rolname)) AS name
    FROM pg_roles r
    LEFT JOIN (
        SELECT place.name || '_' || role AS rolname, role AS name
        FROM place, unnest('{owner,writer,reader,projector,verifier,signer,eraser}'::text[]) role
    ) ours ON ours.rolname = r.rolname
),
-- Logins of an installation that may act in our roles, also by way of another role.
members (oid) AS (
    SELECT m.member FROM pg_auth_members m JOIN roles r ON r.oid = m.roleid AND r.is_ours
    UNION
    SELECT m.member FROM members JOIN pg_auth_members m ON m.roleid = members.oid
),
-- Settings of roles, of the database (role 0), and of roles in the database, each as name=value.
settings AS (
    SELECT s.setrole AS role, split_part(v.text, '=', 1) AS name, v.text,
           CASE WHEN s.setdatabase <> 0 THEN ' in the database' END AS place
    FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) v (text)
    WHERE s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
),
granted AS (
    SELECT 'schema' AS subject, 'schema' AS object, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM place
    UNION ALL
    SELECT relname, relname, relowner, coalesce(relacl, acldefault('r', relowner)) FROM relations
    UNION ALL
    SELECT r.relname, format('column %s.%s', r.relname, a.attname), r.relowner, a.attacl
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT proname, object, proowner, coalesce(proacl, acldefault('f', proowner)) FROM functions
    UNION ALL
    SELECT 'database', 'database', datdba, coalesce(datacl, acldefault('d', datdba))
    FROM pg_database WHERE datname = current_database()
)
SELECT 'schema' AS subject, 'schema' AS object, 'owner ' || r.name AS description
FROM place p JOIN roles r ON r.oid = p.nspowner
UNION ALL
SELECT 'role ' || r.name, 'role ' || r.name,
       -- The installation decides whether the other roles are logins.
       concat_ws(' ', CASE WHEN rolcanlogin AND r.name = 'owner' THEN 'login' END, CASE WHEN rolsuper THEN 'superuser' END,
                 CASE WHEN rolinherit THEN 'inherit' END, CASE WHEN rolcreaterole THEN 'createrole' END,
                 CASE WHEN rolcreatedb THEN 'createdb' END, CASE WHEN rolreplication THEN 'replication' END,
                 CASE WHEN rolbypassrls THEN 'bypassrls' END)
FROM roles r JOIN pg_roles p ON p.oid = r.oid WHERE r.is_ours
UNION ALL
SELECT 'role ' || r.name, format('role %s', r.name), 'member of ' || o.name
FROM roles r JOIN pg_auth_members m ON m.member = r.oid JOIN roles o ON o.oid = m.roleid WHERE r.is_ours
UNION ALL
SELECT 'migrations', 'migration ' || m.name, 'sha256 ' || left(m.sha256, 16) FROM schema_migrations m
UNION ALL
SELECT c.relname, c.relname,
       concat_ws(' ', 'kind', c.relkind, 'owner', r.name, 'persistence', c.relpersistence,
                 CASE WHEN relrowsecurity THEN 'row security' END, array_to_string(c.reloptions, ' '))
FROM relations c JOIN roles r ON r.oid = c.relowner
UNION ALL
SELECT r.relname, format('column %s.%s', r.relname, a.attname),
       concat_ws(' ', to_char(a.attnum, 'FM00'), format_type(a.atttypid, a.atttypmod),
                 CASE WHEN a.attnotnull THEN 'not null' END,
                 CASE WHEN a.attidentity <> '' OR a.attgenerated <> '' THEN 'generated' END,
                 'default ' || pg_get_expr(d.adbin, d.adrelid), 'storage', a.attstorage)
FROM relations r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
UNION ALL
SELECT r.relname, format('constraint %s.%s', r.relname, c.conname), pg_get_constraintdef(c.oid, true)
FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid WHERE c.contype NOT IN ('n', 't')
UNION ALL
SELECT r.relname, format('index %s', c.relname), pg_get_indexdef(i.indexrelid, 0, true)
FROM relations r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid
UNION ALL
SELECT r.relname, format('trigger %s.%s', r.relname, t.tgname),
       concat_ws(' ', pg_get_triggerdef(t.oid, true), 'enabled', t.tgenabled)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT r.relname, format('rule %s.%s', r.relname, w.rulename), pg_get_ruledef(w.oid)
FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT r.relname, format('policy %s.%s', r.relname, p.polname), 'a policy of row security'
FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT r.relname, format('child of %s', r.relname), c.relname
FROM relations r JOIN pg_inherits i ON i.inhparent = r.oid JOIN pg_class c ON c.oid = i.inhrelid
WHERE c.oid NOT IN (SELECT p.oid FROM partitions p)
UNION ALL
-- One line for each partition, with all its properties: a partition that differs adds a line.
SELECT s.relname, format('partition of %s', s.relname),
       replace(concat_ws(' ', CASE WHEN p.relname !~ '^sealed_fields_[0-9]+$' THEN quote_literal(p.relname) END,
           CASE WHEN p.relnamespace <> place.oid THEN 'in another schema' END,
           'kind', p.relkind, 'owner', r.name, 'persistence', p.relpersistence,
           CASE WHEN p.relrowsecurity THEN 'row security' END, array_to_string(p.reloptions, ' '),
           (SELECT 'columns ' || string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
                                                      CASE WHEN a.attnotnull THEN 'not null' END, 'default ' || pg_get_expr(d.adbin, d.adrelid),
                                                      'storage', a.attstorage, a.attacl::text), ', ' ORDER BY a.attnum)
            FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT string_agg(pg_get_constraintdef(c.oid, true), ', ' ORDER BY c.conname) FROM pg_constraint c
            WHERE c.conrelid = p.oid AND c.contype NOT IN ('n', 't')),
           (SELECT string_agg(concat_ws(' ', pg_get_triggerdef(t.oid, true), 'enabled', t.tgenabled), ', ' ORDER BY t.tgname)
            FROM pg_trigger t WHERE t.tgrelid = p.oid AND NOT t.tgisinternal),
           (SELECT 'rule ' || string_agg(pg_get_ruledef(w.oid), ', ' ORDER BY w.rulename) FROM pg_rewrite w WHERE w.ev_class = p.oid),
           (SELECT 'policy ' || string_agg(l.polname, ', ' ORDER BY l.polname) FROM pg_policy l WHERE l.polrelid = p.oid),
           (SELECT string_agg(concat_ws(' ', 'grant to', coalesce(g.name, 'PUBLIC'), lower(a.privilege_type)), ', '
                              ORDER BY g.name, a.privilege_type)
            FROM aclexplode(p.relacl) a LEFT JOIN roles g ON g.oid = a.grantee WHERE a.grantee <> p.relowner)
       ), p.relname, 'PARTITION')
FROM place, partitions p JOIN pg_class s ON s.oid = p.inhparent JOIN roles r ON r.oid = p.relowner
UNION ALL
SELECT f.proname, f.object,
       concat_ws(' ', format('(%s)', pg_get_function_arguments(f.oid)), 'returns', pg_get_function_result(f.oid),
                 'language', l.lanname, 'volatility', f.provolatile, 'parallel', f.proparallel, 'owner', r.name,
                 CASE WHEN f.prosecdef THEN 'security definer' END,
                 'set ' || replace(array_to_string(f.proconfig, '; '), quote_ident(place.name), 'SCHEMA'),
                 'sha256', left(encode(sha256(convert_to(f.prosrc, 'UTF8')), 'hex'), 16))
FROM place, functions f JOIN pg_language l ON l.oid = f.prolang JOIN roles r ON r.oid = f.proowner
UNION ALL
SELECT g.subject, format('grant on %s to %s', g.object, coalesce(r.name, 'PUBLIC')),
       concat_ws(' ', lower(a.privilege_type), CASE WHEN a.is_grantable THEN 'with grant option' END)
FROM granted g CROSS JOIN aclexplode(g.acl) a LEFT JOIN roles r ON r.oid = a.grantee
-- An operator may let other programs use the database. The owner's role may own the database, and then has no grant.
WHERE a.grantee <> g.owner AND (g.subject <> 'database' OR a.grantee = 0 OR r.is_ours AND r.name <> 'owner')
UNION ALL
SELECT 'schema', 'default rights', d.defaclacl::text FROM pg_default_acl d JOIN place ON d.defaclnamespace = place.oid
UNION ALL
SELECT 'database', format('event trigger %s', e.evtname), 'on ' || e.evtevent FROM pg_event_trigger e
UNION ALL
-- `migrate` keeps a search_path that the database already has: that of the server, or of another ledger.
SELECT 'database', format('setting %s of the database', s.name), s.text
FROM settings s
WHERE s.role = 0 AND s.place <> '' AND s.text NOT IN ('search_path=public', 'search_path="$user", public')
  AND s.text NOT IN (
      SELECT format('search_path=%I, public', n.nspname)
      FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner AND o.rolname = n.nspname || '_owner'
  )
UNION ALL
SELECT 'role ' || r.name, format('setting %s of role %s%s', s.name, r.name, s.place), s.text
FROM settings s JOIN roles r ON r.oid = s.role WHERE r.is_ours
UNION ALL
-- Each connection of this program sets these three itself, so the settings of a login do no harm
-- (docs/operate/logins.md).
SELECT 'database', format('setting %s of role %s%s', s.name, r.name, s.place), s.text
FROM settings s JOIN roles r ON r.oid = s.role JOIN members m ON m.oid = r.oid
WHERE NOT r.is_ours AND s.name NOT IN ('role', 'search_path', 'idle_in_transaction_session_timeout')
