"""Back up a ledger to one file and restore it: docs/operate/backup.md."""
