-- Erases the sealed values of a client, through erase() alone, and folds the read models again in the same transaction: for
-- that it is a member of the projector (schema/database_roles.py).
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION erase(text[], uuid[], text[], text[], integer[], text[], text[], bigint, bytea, bytea, bigint, bytea, bytea, bigint) TO {role};
