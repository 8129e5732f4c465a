"""Brokers that share a database: who owns which store, and what all of them have in common."""
