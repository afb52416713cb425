-- Decisions that nobody has confirmed in time, by the clock of the database, the longest overdue first.
SELECT id
FROM decisions
WHERE state = 'waiting' AND confirm_by <= statement_timestamp()
ORDER BY confirm_by, id
