"""Erase clients' sealed values. No other package deletes recorded data."""
