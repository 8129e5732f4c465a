"""Lessons 4 and 5, choosing by severity or pattern. Arguments: exchange, its type, binding keys."""

import os
import sys
from typing import Any

import pika


def on_log(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
    """Print one message and the key it was sent with."""
    print(method.routing_key, body.decode())


exchange, exchange_type, *binding_keys = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type=exchange_type)
queue = channel.queue_declare(queue="", exclusive=True).method.queue
for binding_key in binding_keys:
    channel.queue_bind(exchange=exchange, queue=queue, routing_key=binding_key)
channel.basic_consume(queue=queue, on_message_callback=on_log, auto_ack=True)
print("ready")
channel.start_consuming()
