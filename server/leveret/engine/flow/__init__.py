"""The flow of a message: published to queues, persisted, and passed on as a dead letter."""
