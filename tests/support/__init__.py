"""What the tests share: broker processes, and a raw AMQP client."""
