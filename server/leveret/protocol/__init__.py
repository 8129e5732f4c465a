"""AMQP 0-9-1 without I/O: bytes in, bytes out. `connection.py` is where the bytes come in."""
