"""Segments of the commit log and of queues, as the store that writes them sees them."""
