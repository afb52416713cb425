-- Select the sessions that attest a part of the chain. Each has its highest serial before that part, if this is not
-- below its serials in the part, and otherwise 0. So a copied serial shows.
SELECT s.key, s.session,
       coalesce((SELECT max(b.serial) FROM attestations b
                 WHERE b.key = s.key AND b.session = s.session AND b.serial >= s.serial AND b.first <= %(after)s), 0)
FROM (SELECT key, session, min(serial) AS serial FROM attestations
      WHERE first > %(after)s AND first <= %(upto)s
      GROUP BY key, session) s
