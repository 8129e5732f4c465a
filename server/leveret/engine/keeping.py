"""Keeping a message that went to queues: one entry in the log, however many of them are durable."""

from leveret.engine.message import Message, persistent
from leveret.engine.queue import Queue
from leveret_storage.queue_log import QueueLog
from leveret_storage.store import Store


def keep(store: Store, message: Message, queues: list[Queue]) -> bool:
    """Keep a message, just published, for the queues that hold it still and are to have it after
    a restart.

    :returns: whether there is anything to wait for before it is confirmed.
    """
    logs: list[QueueLog] = []
    positions: list[int] = []
    passed_on = False
    for queue in queues:
        if queue.refers_back and message.persistent:
            passed_on = True
        log = queue.last_log
        if log is None or not (message.persistent or queue.persists):
            continue
        if log.is_settled(queue.last_position):
            passed_on = passed_on or queue.dead_letters
        else:
            logs.append(log)
            positions.append(int(queue.last_position))
    if logs:
        if not message.persistent:
            message = persistent(message)
        store.message(logs, positions, message)
    elif passed_on:
        store.request()
    return bool(logs) or passed_on
