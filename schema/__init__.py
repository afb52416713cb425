"""Define the schema of a ledger: tables, functions and roles as SQL, their migrations, and the catalogue of event
types."""
