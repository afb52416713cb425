"""The only code that deletes."""
