"""The HTTP API of RabbitMQ, over a local socket without a login."""
