"""Agents: what answers a portfolio request. `protocol` says how one is asked, `builtin` is the one that ships."""
