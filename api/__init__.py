"""HTTP, the command line and agents."""
