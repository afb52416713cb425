"""What may be recorded: tables, functions and roles as SQL, their migrations, and the catalogue of event types."""
