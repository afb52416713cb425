-- Delete the refused notes of one log and reason, except the first ?3 and the newest ?3.
DELETE FROM witness_kept WHERE origin = ?1 AND reason = ?2
AND rowid NOT IN (SELECT rowid FROM witness_kept WHERE origin = ?1 AND reason = ?2 ORDER BY rowid LIMIT ?3)
AND rowid NOT IN (SELECT rowid FROM witness_kept WHERE origin = ?1 AND reason = ?2 ORDER BY rowid DESC LIMIT ?3)
