"""Lesson 3, listening: an exclusive queue the broker names. Argument: exchange."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika


def on_log(_channel, _method, _properties, body):
    """Print one message."""
    print("log", body.decode())


exchange = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type="fanout")
queue = channel.queue_declare(exclusive=True).method.queue
channel.queue_bind(exchange=exchange, queue=queue)
channel.basic_consume(on_log, queue=queue, no_ack=True)
print("ready", queue)
channel.start_consuming()
