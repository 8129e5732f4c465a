"""Channels: content, confirms, deliveries, settling, transactions, and the session they share."""
