"""How the outside reaches the ledger: HTTP, command line, agents."""
