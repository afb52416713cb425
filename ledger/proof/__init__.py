"""Check hashes, proofs and signatures. An auditor runs this package without a database."""
