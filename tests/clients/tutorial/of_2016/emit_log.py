"""Lesson 3, telling everybody: one message to a fanout exchange. Arguments: exchange, text."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika

exchange, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type="fanout")
channel.basic_publish(exchange=exchange, routing_key="", body=text.encode())
print("sent", text)
connection.close()
