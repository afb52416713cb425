-- parse_batch() returns one more column, which CREATE OR REPLACE cannot do; functions/parse_batch.sql makes it again.
DROP FUNCTION IF EXISTS parse_batch(text);
