"""Be a witness for the logs of others: state, rules, HTTP. It needs no ledger and no database server."""
