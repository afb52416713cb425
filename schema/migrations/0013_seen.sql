-- When the leader last said that it works. A process that is stopped, or whose machine pauses, keeps its session and so the
-- lead. functions/lead_verifying.sql writes it; null for other roles, and while an earlier version leads.
ALTER TABLE leaders ADD COLUMN seen timestamptz;
