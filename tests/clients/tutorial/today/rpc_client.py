"""Lesson 6, the client: asks for each number in turn. Arguments: request queue, numbers."""

import os
import sys
import uuid
from typing import Any

import pika


class FibonacciClient:
    """Sends a number and waits for the answer with the same correlation id."""

    def __init__(self, request_queue: str) -> None:
        self.request_queue = request_queue
        self.connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        self.channel = self.connection.channel()
        self.reply_queue = self.channel.queue_declare(queue="", exclusive=True).method.queue
        self.channel.basic_consume(
            queue=self.reply_queue, on_message_callback=self.on_reply, auto_ack=True
        )
        self.replies: dict[str, bytes] = {}

    def on_reply(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        """Keep the answer under the id its question had."""
        self.replies[properties.correlation_id] = body

    def call(self, n: int) -> int:
        """The n-th Fibonacci number, worked out elsewhere."""
        correlation_id = uuid.uuid4().hex
        self.channel.basic_publish(
            exchange="",
            routing_key=self.request_queue,
            properties=pika.BasicProperties(
                reply_to=self.reply_queue, correlation_id=correlation_id
            ),
            body=str(n).encode(),
        )
        while correlation_id not in self.replies:
            self.connection.process_data_events(time_limit=None)
        return int(self.replies[correlation_id])


queue, *numbers = sys.argv[1:]
client = FibonacciClient(queue)
for number in numbers:
    print(number, client.call(int(number)))
client.connection.close()
