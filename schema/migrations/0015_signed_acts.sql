-- Takes signatures as well now; functions/append.sql makes it again. A call without them finds the new function.
DROP FUNCTION IF EXISTS append(text[], uuid[], text[], text[], integer[], text[], text[], integer[], text[], bytea[], text[], bigint);
