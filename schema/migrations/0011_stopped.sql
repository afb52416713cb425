-- Why append() records nothing: the database does not go on from what was signed last, and a person has to decide.
-- Null while it records. append() locks and reads this row anyway, so an append costs no more.
ALTER TABLE head ADD COLUMN stopped text;
