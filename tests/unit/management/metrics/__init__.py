"""Unit tests of what Prometheus scrapes."""
