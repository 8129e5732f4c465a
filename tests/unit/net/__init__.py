"""Unit tests of the sockets' side."""
