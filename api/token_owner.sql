-- The subject and the number of the credential that a token is, by the token's SHA-256.
SELECT subject, credential
FROM credentials
WHERE sha256 = %s
ORDER BY id
LIMIT 1
