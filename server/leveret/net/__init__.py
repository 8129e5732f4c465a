"""Sockets: listeners, transports, and the schedule of the event loop.

The only package of the AMQP side that uses asyncio. Its rules: one iteration of the event loop is
short, whatever the number of connections, and memory stays bounded, whatever peers send or do not
read.
"""
