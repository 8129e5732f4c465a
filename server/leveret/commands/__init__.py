"""The commands that talk to a running broker, one file a subject."""
