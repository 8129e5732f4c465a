"""Connections: frames found in the input, the handshake, channels opened and closed."""
