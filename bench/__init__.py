"""Measurements of Leveret beside RabbitMQ, on one machine and in one run: `python -m bench`."""
