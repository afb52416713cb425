"""Write and prove the record: canonical bytes, chain, proofs, commands, append, verification."""
