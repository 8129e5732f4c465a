"""Keeping a message that went to queues: one entry in the log, however many of them are durable."""

from leveret.engine.queues.queue import Queue
from leveret.engine.values.message import Message, persistent
from leveret_storage.segments.queue_journal import QueueJournal
from leveret_storage.store.store import Store


def persist(store: Store, message: Message, queues: list[Queue]) -> bool:
    """Keep a message, just published, for the queues that hold it still and are to have it after
    a restart.

    :returns: whether there is anything to wait for before it is confirmed.
    """
    journals: list[QueueJournal] = []
    positions: list[int] = []
    passed_on = False
    for queue in queues:
        if queue.refers_back and message.persistent:
            passed_on = True
        journal = queue.last_journal
        if journal is None or not (message.persistent or queue.persists):
            continue
        if journal.is_settled(queue.last_position):
            passed_on = passed_on or queue.dead_letters
        else:
            journals.append(journal)
            positions.append(int(queue.last_position))
    if journals:
        if not message.persistent:
            message = persistent(message)
        store.add_message(journals, positions, message)
    elif passed_on:
        store.request_commit()
    return bool(journals) or passed_on
