"""Lesson 6, the server: answers a number with its Fibonacci number. Argument: request queue."""

import os
import sys
from typing import Any

import pika


def fibonacci(n: int) -> int:
    """The n-th Fibonacci number, n >= 0."""
    current, following = 0, 1
    for _ in range(n):
        current, following = following, current + following
    return current


def on_request(channel: Any, method: Any, properties: Any, body: bytes) -> None:
    """Answer one request to the queue it names, under its correlation id."""
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(fibonacci(int(body))).encode(),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)
    print("answered", body.decode())


queue = sys.argv[1]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue)
channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue=queue, on_message_callback=on_request)
print("ready")
channel.start_consuming()
