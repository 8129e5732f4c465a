"""The store: group commit, log and queue segments, compaction."""
