-- Finds all portfolios, and the newest run of monitoring, without reading the other events. No row of another type costs
-- anything.
CREATE INDEX events_monitoring_idx ON events (type, position)
    WHERE type IN ('portfolio.defined', 'monitoring.run-started');
