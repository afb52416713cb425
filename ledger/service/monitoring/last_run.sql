-- The stream of the newest run, or no row.
SELECT stream FROM events WHERE type = 'monitoring.run-started' ORDER BY position DESC LIMIT 1
