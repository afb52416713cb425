-- The sessions with attestations in a part of the chain; and of each the highest serial before that part, where it is not
-- below those in the part. A serial that was copied shows here.
SELECT s.key, s.session,
       coalesce((SELECT max(b.serial) FROM attestations b
                 WHERE b.key = s.key AND b.session = s.session AND b.serial >= s.serial AND b.first <= %(after)s), 0)
FROM (SELECT key, session, min(serial) AS serial FROM attestations
      WHERE first > %(after)s AND first <= %(upto)s
      GROUP BY key, session) s
