"""Import history: events that took place before this ledger had them (docs/use/import.md)."""
