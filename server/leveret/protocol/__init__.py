"""AMQP 0-9-1 without I/O: bytes in, bytes out. `connections/connection.py` is where bytes come in.

Imports go one way: wire < channels < handlers < connections; `states.py` may be imported by all.
"""
