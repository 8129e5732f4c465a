"""The classic RabbitMQ tutorial's six lessons as programs, with today's pika and with pika 0.12.

Every program takes its names as arguments and the broker from AMQP_URL, and prints `ready` once it
consumes.
"""
