-- parse_batch() returns other columns, which CREATE OR REPLACE cannot do; functions/parse_batch.sql makes it again.
DROP FUNCTION IF EXISTS parse_batch(text);
-- Takes one event now, not a batch; functions/adopt_checkpoint.sql makes it again.
DROP FUNCTION IF EXISTS adopt_checkpoint(text);
