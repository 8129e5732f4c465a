"""Segments of the commit log and of queues, and the journal of a queue."""
