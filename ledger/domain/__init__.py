"""Pure decisions: from a state and a command to events, or to a named refusal. No I/O, no clock, no database."""
