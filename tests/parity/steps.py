"""What scenarios of several sections begin with, or do several times."""

from pamqp import commands

from tests.parity.session import Client, Session

Exchange = commands.Exchange
Queue = commands.Queue


def with_messages(session: Session, *contents: bytes) -> Client:
    """A client with a shared queue q holding these contents."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q"))
        for content in contents:
            client.publish("", "q", content)
        client.drain("q")
    return client


def declare_exchange(
    name: str,
    kind: str = "direct",
    *,
    passive: bool = False,
    durable: bool = False,
    auto_delete: bool = False,
    internal: bool = False,
    nowait: bool = False,
) -> Exchange.Declare:
    """exchange.declare without arguments."""
    return Exchange.Declare(0, name, kind, passive, durable, auto_delete, internal, nowait)


def bound_queues(client: Client, exchange: str, *keys: str) -> None:
    """A queue named as its binding key (@ for *), for every key."""
    for key in keys:
        queue = key.replace("*", "@")
        client.do(Queue.Declare(0, queue, exclusive=True))
        client.do(Queue.Bind(0, queue, exchange, key))


def route(client: Client, exchange: str, key: str, *queues: str) -> None:
    """Publish mandatory, and show what came into the queues."""
    client.publish(exchange, key, key.encode(), mandatory=True)
    client.drain(*queues)
    for queue in queues:
        client.do(Queue.Purge(0, queue))
