"""Channels: content, confirms, deliveries, transactions, and what they share in a connection."""
