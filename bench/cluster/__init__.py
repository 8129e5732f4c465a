"""Three brokers on one machine: Leveret on PostgreSQL, RabbitMQ with quorum queues."""
