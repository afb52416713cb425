-- Whether the rights on the database are not those that schema/database_roles.py grants. Parameters: database, owner, roles.
SELECT has_database_privilege('public', %(database)s, 'CONNECT')
    OR has_database_privilege('public', %(database)s, 'TEMPORARY')
    OR NOT has_database_privilege(%(owner)s, %(database)s, 'CONNECT')
    OR NOT has_database_privilege(%(owner)s, %(database)s, 'CREATE')
    OR EXISTS (
        SELECT FROM unnest(%(roles)s::text[]) r (name)
        WHERE NOT has_database_privilege(r.name, %(database)s, 'CONNECT')
    )
