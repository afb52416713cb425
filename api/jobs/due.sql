-- Select messages that are neither delivered nor given up and have no open job: of each endpoint in turn, the oldest first.
-- So an endpoint whose messages wait in thousands delays no other one.
SELECT w.id, w.round
FROM (
    SELECT d.id, d.round, row_number() OVER (PARTITION BY d.endpoint ORDER BY d.id) AS place
    FROM deliveries d
    WHERE d.state IN ('waiting', 'sending')
      AND NOT EXISTS (
          SELECT FROM jobs j
          WHERE j.state IN ('queued', 'running') AND j.kind = 'deliver'
            AND j.parameters = format('{"delivery":%%s,"round":%%s}', d.id, d.round))
) w
ORDER BY w.place, w.id
LIMIT %(most)s
