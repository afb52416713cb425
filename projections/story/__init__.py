"""The story of a client, composed from events and from the folds of the read models: for people to read."""
