"""Serve the ledger over HTTP, and provide the command line and agents."""
