"""Lesson 3, listening: an exclusive queue the broker names. Argument: exchange."""

import os
import sys
from typing import Any

import pika


def on_log(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
    """Print one message."""
    print("log", body.decode())


exchange = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type="fanout")
queue = channel.queue_declare(queue="", exclusive=True).method.queue
channel.queue_bind(exchange=exchange, queue=queue)
channel.basic_consume(queue=queue, on_message_callback=on_log, auto_ack=True)
print("ready", queue)
channel.start_consuming()
