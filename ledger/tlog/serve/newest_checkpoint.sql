-- Select the newest checkpoint below a size: its size, the note as it was signed, and its age in seconds.
SELECT size, note, extract(epoch FROM clock_timestamp() - CASE WHEN isfinite(created_at) THEN created_at END)::float8
FROM checkpoints WHERE size < %s ORDER BY size DESC LIMIT 1
