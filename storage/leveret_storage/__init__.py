"""The write-ahead log of durable queues, and its media. It knows bytes, and nothing of AMQP."""
