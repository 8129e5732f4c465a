"""Lesson 1, the sending half: one message through the default exchange. Arguments: queue, text."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika

queue, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue)
channel.basic_publish(exchange="", routing_key=queue, body=text.encode())
print("sent", text)
connection.close()
