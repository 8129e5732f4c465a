"""Lesson 1, the receiving half: print what comes, without acknowledging. Argument: queue."""

import os
import sys
from typing import Any

import pika


def on_message(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
    """Print one message."""
    print("received", body.decode())


queue = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue)
channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
print("ready")
channel.start_consuming()
