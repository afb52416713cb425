-- The schema as lines of text, from pg_catalog. Left out is what differs between versions of PostgreSQL and not between
-- schemas: NOT NULL as a named constraint (18), and the owner's own rights (MAINTAIN came with 17).
WITH place AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace n WHERE n.nspname = %(schema)s
),
relations AS (
    SELECT c.* FROM pg_class c JOIN place ON c.relnamespace = place.oid
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S')
),
functions AS (
    SELECT p.*, format('%%s(%%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS signature,
           format('%%s(%%s)', p.proname, pg_get_function_arguments(p.oid)) AS described
    FROM pg_proc p JOIN place ON p.pronamespace = place.oid
),
our_roles AS (
    SELECT r.* FROM pg_roles r
    WHERE r.rolname = ANY (SELECT %(schema)s || '_' || unnest('{owner,writer,reader,projector,verifier}'::text[]))
),
granted AS (
    SELECT format('schema %%s', nspname) AS thing, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl FROM place
    UNION ALL
    SELECT relname, relowner, coalesce(relacl, acldefault('r', relowner)) FROM relations
    UNION ALL
    SELECT format('%%s.%%s', r.relname, a.attname), r.relowner, a.attacl
    FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT signature, proowner, coalesce(proacl, acldefault('f', proowner)) FROM functions
)
SELECT format('schema %%s owner %%s', nspname, nspowner::regrole) FROM place
UNION ALL
SELECT format('role %%s%%s%%s%%s%%s%%s%%s%%s', rolname,
              CASE WHEN rolcanlogin THEN ' login' END, CASE WHEN rolsuper THEN ' superuser' END,
              CASE WHEN rolinherit THEN ' inherit' END, CASE WHEN rolcreaterole THEN ' createrole' END,
              CASE WHEN rolcreatedb THEN ' createdb' END, CASE WHEN rolreplication THEN ' replication' END,
              CASE WHEN rolbypassrls THEN ' bypassrls' END)
FROM our_roles
UNION ALL
SELECT format('member %%s of %%s', r.rolname, m.roleid::regrole)
FROM our_roles r JOIN pg_auth_members m ON m.member = r.oid
UNION ALL
SELECT format('migration %%s sha256 %%s', m.name, left(m.sha256, 16)) FROM schema_migrations m
UNION ALL
SELECT format('relation %%s kind %%s owner %%s%%s', relname, relkind, relowner::regrole,
              CASE WHEN relrowsecurity THEN ' row security' END)
FROM relations
UNION ALL
SELECT format('column %%s.%%s %%s %%s%%s%%s%%s storage %%s', r.relname, to_char(a.attnum, 'FM00'), a.attname,
              format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END,
              CASE WHEN a.attidentity <> '' OR a.attgenerated <> '' THEN ' generated' END,
              ' default ' || pg_get_expr(d.adbin, d.adrelid), a.attstorage)
FROM relations r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
UNION ALL
SELECT format('constraint %%s.%%s %%s', r.relname, c.conname, pg_get_constraintdef(c.oid))
FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid WHERE c.contype NOT IN ('n', 't')
UNION ALL
SELECT format('index %%s.%%s', r.relname, pg_get_indexdef(i.indexrelid))
FROM relations r JOIN pg_index i ON i.indrelid = r.oid
UNION ALL
SELECT format('trigger %%s %%s enabled %%s', r.relname, pg_get_triggerdef(t.oid), t.tgenabled)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('function %%s returns %%s language %%s volatility %%s parallel %%s owner %%s%%s%%s sha256 %%s',
              f.described, pg_get_function_result(f.oid), l.lanname, f.provolatile, f.proparallel, f.proowner::regrole,
              CASE WHEN f.prosecdef THEN ' security definer' END, ' set ' || array_to_string(f.proconfig, '; '),
              left(encode(sha256(convert_to(f.prosrc, 'UTF8')), 'hex'), 16))
FROM functions f JOIN pg_language l ON l.oid = f.prolang
UNION ALL
SELECT format('grant %%s on %%s to %%s%%s', lower(a.privilege_type), g.thing,
              CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END,
              CASE WHEN a.is_grantable THEN ' with grant option' END)
FROM granted g, aclexplode(g.acl) a WHERE a.grantee <> g.owner
UNION ALL
SELECT format('default %%s', d.defaclacl) FROM pg_default_acl d JOIN place ON d.defaclnamespace = place.oid
