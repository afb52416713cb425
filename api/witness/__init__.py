"""Being a witness for the logs of others: state, judgement, HTTP. It needs no ledger and no ledger's database."""
