-- The newest streams in which a run was started, before a position. An event of somebody else can be among them. IS TRUE
-- keeps the planner from the index of streams, so that it reads the newest runs alone.
SELECT position, stream FROM events
WHERE type = 'monitoring.run-started' AND position < %s
  AND (version = 1 AND stream ~ '^monitoring-[1-9][0-9]{0,15}$') IS TRUE
ORDER BY position DESC LIMIT 10
