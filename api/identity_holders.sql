-- The credentials that an identity at a provider is registered as, the first of them first: if two subjects have one, it
-- is that of the first.
SELECT subject, credential, id
FROM credentials
WHERE issuer = %s AND identity = %s AND revoked_at IS NULL
ORDER BY id
LIMIT 20
