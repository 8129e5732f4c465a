"""Lessons 4 and 5, choosing by severity or pattern. Arguments: exchange, its type, binding keys."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika


def on_log(_channel, method, _properties, body):
    """Print one message and the key it was sent with."""
    print(method.routing_key, body.decode())


exchange, exchange_type, *binding_keys = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type=exchange_type)
queue = channel.queue_declare(exclusive=True).method.queue
for binding_key in binding_keys:
    channel.queue_bind(exchange=exchange, queue=queue, routing_key=binding_key)
channel.basic_consume(on_log, queue=queue, no_ack=True)
print("ready")
channel.start_consuming()
