"""Lesson 2, doing the work: one task at a time, acknowledged when done.

Arguments: queue, and how many seconds a task takes.
"""

# mypy: ignore-errors
# (pika 0.12 knows no types.)

import os
import sys
import time

import pika


def on_task(channel, method, _properties, body):
    """Work on one task and acknowledge it."""
    task = body.decode()
    print("redelivered" if method.redelivered else "got", task)
    time.sleep(task_duration_s)
    channel.basic_ack(delivery_tag=method.delivery_tag)
    print("done", task)


queue, task_duration_s = sys.argv[1], float(sys.argv[2])
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.queue_declare(queue=queue, durable=True)
channel.basic_qos(prefetch_count=1)
channel.basic_consume(on_task, queue=queue)
print("ready")
channel.start_consuming()
