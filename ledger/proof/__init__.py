"""Hashes, proofs and signatures: what an auditor runs without a database."""
