"""Queues: messages in order, on disk and in memory, and the consumers that take them."""
