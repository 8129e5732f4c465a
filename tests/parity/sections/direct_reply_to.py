"""Direct reply-to: the consumer that gets replies, the names it is known by, and where they end."""

from typing import Any, Final

from pamqp import body, commands, header

from leveret.errors import ReplyCode
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.transcript import connection_refused, got
from tests.protocol.wire import unvalidated

Basic = commands.Basic
Channel = commands.Channel
Confirm = commands.Confirm
Queue = commands.Queue
Tx = commands.Tx

REPLY_TO: Final = "amq.rabbitmq.reply-to"


def consume(tag: str = "replies", *, no_ack: bool = True, nowait: bool = False) -> Basic.Consume:
    """basic.consume of replies."""
    return Basic.Consume(0, REPLY_TO, tag, no_ack=no_ack, nowait=nowait)


def requester(session: Session) -> Client:
    """A client that consumes replies, and has the queue q for requests."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q"))
        client.do(consume())
    return client


def ask(client: Client, **properties: Any) -> str:
    """Publish a request, and get it again; the name its replies go to."""
    client.publish("", "q", b"request", reply_to=REPLY_TO, **properties)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))
    return client.reply_to


def asked(client: Client, session: Session) -> str:
    """As `ask`, and not recorded."""
    with session.unrecorded():
        return ask(client)


@scenario()
def consuming_replies(session: Session) -> None:
    client = session.connect()
    client.do(consume())


@scenario()
def consuming_replies_under_a_tag_made_up(session: Session) -> None:
    client = session.connect()
    client.do(consume(""))


@scenario()
def consuming_replies_with_acknowledgements(session: Session) -> None:
    client = session.connect()
    client.do(consume(no_ack=False))


@scenario()
def consuming_replies_twice(session: Session) -> None:
    client = session.connect()
    client.do(consume())
    client.do(consume("more"))


@scenario()
def consuming_replies_twice_then_with_acknowledgements(session: Session) -> None:
    client = session.connect()
    client.do(consume())
    client.do(consume("more", no_ack=False))


@scenario()
def consuming_replies_under_a_tag_in_use(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", exclusive=True))
    client.do(Basic.Consume(0, "q", "replies"))
    client.send(consume())
    client.receive_until_closed()


@scenario()
def consuming_replies_with_everything_that_is_ignored(session: Session) -> None:
    client = session.connect()
    client.do(
        Basic.Consume(
            0,
            REPLY_TO,
            "replies",
            no_local=True,
            no_ack=True,
            exclusive=True,
            arguments={"x-priority": "high"},
        )
    )


@scenario()
def consuming_replies_without_waiting(session: Session) -> None:
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q"))
    client.do(consume(nowait=True))
    name = ask(client)
    client.publish("", name, b"reply")
    client.receive_until(Basic.Deliver)


@scenario()
def consuming_replies_on_two_channels(session: Session) -> None:
    client = requester(session)
    client.open(2)
    client.do(consume(), ch=2)
    first = ask(client)
    client.publish("", "q", b"request", ch=2, reply_to=REPLY_TO)
    client.drain("q", ch=2)
    client.do(Basic.Get(0, "q", True))
    client.publish("", first, b"1")
    client.publish("", client.reply_to, b"2")
    client.receive_until(Basic.Deliver, Basic.Deliver)


@scenario()
def asking_without_a_consumer(session: Session) -> None:
    client = session.connect()
    client.publish("", "q", b"request", reply_to=REPLY_TO)
    client.drain()


@scenario()
def asking_without_a_consumer_at_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.publish("missing", "q", b"request", reply_to=REPLY_TO)
    client.drain()


@scenario()
def asking_without_a_consumer_as_another_user(session: Session) -> None:
    client = session.connect()
    client.publish("", "q", b"request", reply_to=REPLY_TO, user_id="somebody")
    client.drain()


@scenario()
def asking_without_a_consumer_and_with_a_wrong_expiration(session: Session) -> None:
    client = session.connect()
    client.publish("", "q", b"request", reply_to=REPLY_TO, expiration="soon")
    client.drain()


@scenario()
def asking_as_another_user(session: Session) -> None:
    client = requester(session)
    client.publish("", "q", b"request", reply_to=REPLY_TO, user_id="somebody")
    client.drain()


@scenario()
def asking_on_another_channel_than_that_of_the_consumer(session: Session) -> None:
    client = requester(session)
    client.open(2)
    client.publish("", "q", b"request", ch=2, reply_to=REPLY_TO)
    client.drain(ch=2)


@scenario()
def asking_after_the_consumer_was_cancelled(session: Session) -> None:
    client = requester(session)
    client.do(Basic.Cancel("replies"))
    client.publish("", "q", b"request", reply_to=REPLY_TO)
    client.drain()


@scenario()
def asking_where_nobody_listens(session: Session) -> None:
    client = requester(session)
    client.publish("", "missing", b"request", mandatory=True, reply_to=REPLY_TO)
    client.drain()


@scenario()
def asking_with_all_properties(session: Session) -> None:
    client = requester(session)
    ask(
        client,
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"a": 1, "nested": {"b": [1, "two", None, True]}},
        delivery_mode=2,
        priority=9,
        correlation_id="correlation",
        expiration="60000",
        message_id="message",
        message_type="type",
        user_id="guest",
        app_id="app",
    )


@scenario()
def asking_for_replies_to_a_name_that_only_begins_so(session: Session) -> None:
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q"))
    client.publish("", "q", b"request", reply_to=f"{REPLY_TO}.mine")
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def asking_and_being_answered(session: Session) -> None:
    client = requester(session)
    name = ask(client, correlation_id="1")
    client.publish("", name, b"reply", correlation_id="1", headers={"a": 1})
    client.receive_until(Basic.Deliver)


@scenario()
def asking_twice_gives_the_same_name(session: Session) -> None:
    client = requester(session)
    ask(client)
    ask(client)


@scenario()
def being_answered_from_another_connection(session: Session) -> None:
    client = requester(session)
    client.publish("", "q", b"request", reply_to=REPLY_TO)
    client.drain("q")
    server = session.connect("b")
    server.do(Basic.Get(0, "q", True))
    server.publish("", server.reply_to, b"reply")
    server.drain()
    client.receive_until(Basic.Deliver)


@scenario()
def acknowledging_a_reply(session: Session) -> None:
    client = requester(session)
    client.publish("", asked(client, session), b"reply")
    client.receive_until(Basic.Deliver)
    client.do(Basic.Ack(2))


@scenario()
def a_reply_in_a_transaction(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.open(2)
    client.do(Tx.Select(), ch=2)
    client.publish("", name, b"reply", ch=2)
    client.send(Tx.Commit(), ch=2)
    client.receive_until(Tx.CommitOk, Basic.Deliver)


@scenario(
    differs="A reply that is published to a direct reply-to address in a transaction is delivered"
    " when the transaction is committed, as every message is; RabbitMQ delivers it at "
    "once, and a rollback does not take it back.",
    leveret=[
        got(Channel.OpenOk(), 2),
        got(Tx.SelectOk(), 2),
        got(Tx.RollbackOk(), 2),
        got(Basic.Deliver("replies", 2, False, "", f"{REPLY_TO}.#1")),
        got(header.ContentHeader(body_size=5)),
        got(body.ContentBody(b"after")),
    ],
)
def a_reply_that_is_rolled_back(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.open(2)
    client.do(Tx.Select(), ch=2)
    client.publish("", name, b"before", ch=2)
    client.do(Tx.Rollback(), ch=2)
    client.publish("", name, b"after")
    client.receive_until(Basic.Deliver)
    client.drain()


@scenario()
def a_reply_is_confirmed(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.open(2)
    client.do(Confirm.Select(), ch=2)
    client.publish("", name, b"reply", ch=2)
    client.receive_until(Basic.Ack, Basic.Deliver)


@scenario()
def a_reply_as_a_copy(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.publish("", "q", b"reply", headers={"CC": [name]})
    client.receive_until(Basic.Deliver)


@scenario()
def a_reply_as_a_hidden_copy(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.publish("", "q", b"reply", headers={"BCC": [name]})
    client.receive_until(Basic.Deliver)


@scenario()
def a_reply_through_another_exchange_reaches_nobody(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.publish("amq.direct", name, b"reply", mandatory=True)
    client.drain()


@scenario()
def a_mandatory_reply_to_a_cancelled_consumer(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.do(Basic.Cancel("replies"))
    client.publish("", name, b"reply", mandatory=True)
    client.drain()


@scenario()
def a_mandatory_reply_to_a_closed_channel(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.open(2)
    client.send(Channel.Close(200, "done", 0, 0))
    client.receive_until(Channel.CloseOk)
    client.publish("", name, b"reply", ch=2, mandatory=True)
    client.drain(ch=2)


@scenario()
def a_mandatory_reply_to_a_name_nobody_ever_had(session: Session) -> None:
    client = session.connect()
    client.publish("", f"{REPLY_TO}.nobody", b"reply", mandatory=True)
    client.drain()


@scenario()
def a_mandatory_message_to_the_name_itself(session: Session) -> None:
    client = requester(session)
    client.publish("", REPLY_TO, b"reply", mandatory=True)
    client.drain()


@scenario(
    differs="A direct reply that is published with `mandatory` is delivered, and not returned, as"
    " on RabbitMQ 4.2; RabbitMQ 3.10 delivers it and returns it, too.",
    leveret=[
        got(Basic.Deliver("replies", 2, False, "", f"{REPLY_TO}.#1")),
        got(header.ContentHeader(body_size=5)),
        got(body.ContentBody(b"reply")),
    ],
)
def a_mandatory_reply(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.publish("", name, b"reply", mandatory=True)
    client.receive_until(Basic.Deliver)


@scenario(
    differs="Each direct reply has a delivery tag of its own, as every delivery of a channel has;"
    " RabbitMQ gives all of them the same.",
    leveret=[
        got(Basic.Deliver("replies", 2, False, "", f"{REPLY_TO}.#1")),
        got(header.ContentHeader(body_size=1)),
        got(body.ContentBody(b"1")),
        got(Basic.Deliver("replies", 3, False, "", f"{REPLY_TO}.#1")),
        got(header.ContentHeader(body_size=1)),
        got(body.ContentBody(b"2")),
    ],
)
def several_replies(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.publish("", name, b"1")
    client.publish("", name, b"2")
    client.receive_until(Basic.Deliver, Basic.Deliver)


@scenario(
    differs="The tag of a consumer of direct replies is in use on its channel, and another "
    "consumer with it is refused; RabbitMQ accepts it.",
    leveret=connection_refused(
        ReplyCode.NOT_ALLOWED, "attempt to reuse consumer tag 'replies'", 60, 20
    ),
)
def the_tag_of_the_consumer_of_replies_is_used_for_a_queue(session: Session) -> None:
    client = requester(session)
    client.do(Basic.Consume(0, "q", "replies"))


@scenario()
def a_consumer_of_replies_begins_again_with_another_name(session: Session) -> None:
    client = requester(session)
    asked(client, session)
    client.do(Basic.Cancel("replies"))
    client.do(consume())
    ask(client)


@scenario()
def declaring_the_name(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, REPLY_TO))
    client.do(Queue.Declare(0, REPLY_TO, passive=True))


@scenario()
def declaring_the_name_with_a_consumer(session: Session) -> None:
    client = requester(session)
    client.do(Queue.Declare(0, REPLY_TO))
    client.do(Queue.Declare(0, REPLY_TO, passive=True))


@scenario()
def declaring_the_name_with_everything_that_is_ignored(session: Session) -> None:
    client = session.connect()
    client.do(
        Queue.Declare(
            0,
            REPLY_TO,
            durable=True,
            exclusive=True,
            auto_delete=True,
            arguments={"x-message-ttl": "soon"},
        )
    )


@scenario()
def declaring_a_name_that_only_begins_so(session: Session) -> None:
    client = session.connect()
    for passive in (False, True):
        client.do(Queue.Declare(0, f"{REPLY_TO}morrow", passive=passive))
        client.reopen_if_closed()


@scenario()
def declaring_a_name_to_reply_to(session: Session) -> None:
    client = requester(session)
    name = ask(client)
    server = session.connect("b")
    server.do(unvalidated(Queue.Declare, queue=name))
    server.do(unvalidated(Queue.Declare, queue=name, passive=True))


@scenario(
    differs="A client may ask, by declaring it, whether the address of its own direct replies "
    "exists; RabbitMQ fails with an internal error if the channel of the consumer asks.",
    leveret=[got(Queue.DeclareOk(f"{REPLY_TO}.#1", 0, 1))],
)
def declaring_a_name_to_reply_to_on_the_channel_of_its_consumer(session: Session) -> None:
    client = requester(session)
    name = asked(client, session)
    client.do(unvalidated(Queue.Declare, queue=name, passive=True))


@scenario()
def declaring_a_name_to_reply_to_that_is_gone(session: Session) -> None:
    client = requester(session)
    name = ask(client)
    client.do(Basic.Cancel("replies"))
    server = session.connect("b")
    for passive in (False, True):
        server.do(unvalidated(Queue.Declare, queue=name, passive=passive))
        server.reopen_if_closed()


@scenario()
def declaring_a_name_to_reply_to_nobody_ever_had(session: Session) -> None:
    client = session.connect()
    for passive in (False, True):
        client.do(Queue.Declare(0, f"{REPLY_TO}.nobody", passive=passive))
        client.reopen_if_closed()


@scenario()
def the_name_as_the_queue_last_declared(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, REPLY_TO, passive=True))
    client.do(Queue.Purge(0, ""))


@scenario()
def other_methods_with_the_name(session: Session) -> None:
    client = requester(session)
    for method in (
        Queue.Bind(0, REPLY_TO, "amq.fanout"),
        Queue.Unbind(0, REPLY_TO, "amq.fanout"),
        Queue.Purge(0, REPLY_TO),
        Queue.Delete(0, REPLY_TO),
        Basic.Get(0, REPLY_TO),
    ):
        client.do(method)
        client.reopen_if_closed()


@scenario()
def other_methods_with_a_name_to_reply_to(session: Session) -> None:
    client = requester(session)
    name = ask(client)
    client.open(2)
    for method in (
        unvalidated(Queue.Bind, queue=name, exchange="amq.fanout"),
        unvalidated(Queue.Purge, queue=name),
        unvalidated(Queue.Delete, queue=name),
        unvalidated(Basic.Get, queue=name),
        unvalidated(Basic.Consume, queue=name),
    ):
        client.do(method, ch=2)
        client.reopen_if_closed(2)
    client.publish("", name, b"still there")
    client.receive_until(Basic.Deliver)
