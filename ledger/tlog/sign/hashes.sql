-- Select the hashes of new events as one long value, which arrives sooner than one value for each row; and whether
-- each event links to the one before. The server compares the links: in Python, that would delay the other threads.
-- not_linked.sql finds the first link that differs.
SELECT found.sound, substring(found.links FROM 1 FOR 32), found.hashes,
       substring(found.links FROM 33) = substring(found.hashes FROM 1 FOR octet_length(found.links) - 32)
FROM (SELECT count(*) FILTER (WHERE octet_length(e.prev_hash) = 32 AND octet_length(e.hash) = 32) AS sound,
             string_agg(e.prev_hash, '') AS links, string_agg(e.hash, '') AS hashes
      FROM (SELECT prev_hash, hash FROM events WHERE position > %(after)s AND position <= %(upto)s
            ORDER BY position) e) found
WHERE octet_length(found.links) >= 32
