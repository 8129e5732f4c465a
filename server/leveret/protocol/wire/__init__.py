"""AMQP 0-9-1 as octets: frames, methods, the greeting, and the responses of a login."""
