"""Brokers that share a database, without one."""
