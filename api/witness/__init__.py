"""Be a witness for other logs: state, rules, HTTP. It needs no ledger and no database server."""
