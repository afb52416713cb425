-- Select those of these events that are recorded: id, position, stream.
SELECT id, position, stream FROM events WHERE id = ANY (%(ids)s)
