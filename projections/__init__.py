"""Keep read models: one query each, updated live, rebuilt, and read as of any position."""
