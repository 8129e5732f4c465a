"""Lessons 4 and 5, telling those who asked. Arguments: exchange, its type, routing key, text."""

import os
import sys

import pika

exchange, exchange_type, routing_key, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type=exchange_type)
channel.basic_publish(exchange=exchange, routing_key=routing_key, body=text.encode())
print("sent", routing_key, text)
connection.close()
