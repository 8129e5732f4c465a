"""Lesson 1, the receiving half: print what comes, without acknowledging. Argument: queue."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika


def on_message(_channel, _method, _properties, body):
    """Print one message."""
    print("received", body.decode())


queue = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue)
channel.basic_consume(on_message, queue=queue, no_ack=True)
print("ready")
channel.start_consuming()
