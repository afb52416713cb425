-- Who may call is recorded as events of subjects from now on. Rows of earlier versions stay until they are recorded
-- (ledger/service/former_tokens.py), which drops their table; without any, it is dropped here.
DROP FUNCTION IF EXISTS agent_exists(text), token_counts();
DO $$
BEGIN
    IF EXISTS (SELECT FROM tokens) THEN
        ALTER TABLE tokens RENAME TO former_tokens;
    ELSE
        DROP TABLE tokens;
    END IF;
END
$$;
