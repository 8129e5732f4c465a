"""The store: group commit, segments, and the disk space that is given back."""
