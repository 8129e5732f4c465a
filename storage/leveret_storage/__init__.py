"""The log that keeps durable queues: bytes in, bytes out, and nothing of AMQP."""
