"""The write-ahead log of durable queues, and its media. It knows bytes, and nothing of AMQP.

PYTEST_DONT_REWRITE: pytest leaves assertions as they are.
"""
