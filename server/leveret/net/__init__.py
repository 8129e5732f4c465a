"""Sockets: listening, moving bytes, keeping turns short and memory bounded.

The only part of the AMQP side that knows asyncio.
"""
