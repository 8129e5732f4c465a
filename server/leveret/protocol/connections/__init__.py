"""Connections: frames dispatched, the handshake, channels opened and closed, errors, heartbeats."""
