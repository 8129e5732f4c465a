"""Fairness: what other clients wait while one client gives the broker a lot of work."""
