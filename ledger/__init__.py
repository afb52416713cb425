"""The write side: canonical bytes, chain, proofs, commands, append, verify."""
