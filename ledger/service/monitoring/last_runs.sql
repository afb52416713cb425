-- The newest streams in which a run was started, before a position. An event of somebody else can be among them.
SELECT position, stream FROM events
WHERE type = 'monitoring.run-started' AND version = 1 AND stream ~ '^monitoring-[1-9][0-9]{0,15}$' AND position < %s
ORDER BY position DESC LIMIT 100
