-- Select the events of a stream of these types, and its last event, by version. These decide a command, however many
-- other events the stream has.
SELECT position, id, stream, version, type, body FROM events
WHERE stream = %(stream)s
  AND (type = ANY (%(types)s) OR version = (SELECT max(e.version) FROM events e WHERE e.stream = %(stream)s))
ORDER BY version
