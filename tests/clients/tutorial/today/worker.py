"""Lesson 2, doing the work: one task at a time, acknowledged when done.

Arguments: queue, and how many seconds a task takes.
"""

import os
import sys
import time
from typing import Any

import pika


def on_task(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
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
channel.basic_consume(queue=queue, on_message_callback=on_task)
print("ready")
channel.start_consuming()
