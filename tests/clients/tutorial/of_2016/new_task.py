"""Lesson 2, handing out work: persistent messages to a durable queue. Arguments: queue, tasks."""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys

import pika

queue, *tasks = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue, durable=True)
for task in tasks:
    channel.basic_publish(
        exchange="",
        routing_key=queue,
        body=task.encode(),
        properties=pika.BasicProperties(delivery_mode=2),
    )
    print("sent", task)
connection.close()
