"""The read side: read models as one query each, kept live, rebuilt, and asked as of any position."""
