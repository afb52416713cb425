-- Which of these events are recorded: id, position, stream.
SELECT id, position, stream FROM events WHERE id = ANY (%(ids)s)
