"""Decisions: state and command in, events out, or a named refusal. No I/O, no clock, no database."""
