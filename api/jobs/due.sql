-- Select the messages that are neither delivered nor given up, the oldest first.
SELECT d.id, d.round
FROM deliveries d
WHERE d.state IN ('waiting', 'sending')
ORDER BY d.id
LIMIT %(most)s
