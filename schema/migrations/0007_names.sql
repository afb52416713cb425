-- "guards" are now called stream preconditions. Events do not carry them, so only functions change.
-- functions/check_preconditions.sql replaces check_guards(); functions/parse_batch.sql makes parse_batch() again, because
-- CREATE OR REPLACE cannot rename a column of its result.
DROP FUNCTION IF EXISTS check_guards(json, text[], bigint, uuid, text);
DROP FUNCTION IF EXISTS parse_batch(text);
