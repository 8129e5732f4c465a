"""Properties the broker looks into: expiration, delivery-mode, CC and BCC, user-id."""

from pamqp import commands

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.support.wire import raw_header, short_string

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue
Tx = commands.Tx


def with_queues(session: Session, *names: str) -> Client:
    """A client with exclusive queues."""
    client = session.connect()
    with session.unrecorded():
        for name in names:
            client.do(Queue.Declare(0, name, exclusive=True))
    return client


@scenario()
def expirations_with_signs_and_limits(session: Session) -> None:
    client = with_queues(session, "q")
    for text in ("+5", "-0", "+", "+-5", "-5x", "5 ", "315360000000", "315360000001"):
        client.publish("", "q", b"", expiration=text)
        client.drain("q")
        client.reopen_if_closed()


@scenario()
def an_empty_expiration_and_user_id(session: Session) -> None:
    client = with_queues(session, "q")
    for flags in (b"\x01\x00", b"\x00\x10"):
        client.send(Basic.Publish(0, "", "q"))
        client.raw(raw_header(1, 60, 0, flags + short_string("")))
        client.drain("q")
        client.reopen_if_closed()


@scenario()
def unknown_delivery_modes(session: Session) -> None:
    client = with_queues(session, "q")
    for mode in (0, 1, 2, 3, 255):
        client.send(Basic.Publish(0, "", "q"))
        client.raw(raw_header(1, 60, 0, b"\x10\x00" + bytes([mode])))
        client.drain("q")
        client.reopen_if_closed()
    client.do(Queue.Purge(0, "q"))


@scenario()
def of_several_wrong_properties_one_is_named(session: Session) -> None:
    client = with_queues(session, "q")
    client.publish("", "q", b"", user_id="x", expiration="x", headers={"CC": "x"})
    client.drain("q")
    client.open(1)
    client.publish("", "q", b"", expiration="x", headers={"CC": "x"})
    client.drain("q")
    client.open(1)
    client.publish("", "q", b"", headers={"BCC": {"a": 1}, "CC": "x"})
    client.drain("q")


@scenario()
def routing_headers_of_other_types(session: Session) -> None:
    client = with_queues(session, "q")
    for value in ({"a": 1}, 70_000, True, None):
        client.publish("", "q", b"", headers={"BCC": value})
        client.drain("q")
        client.reopen_if_closed()


@scenario()
def cc_alone_reaches_a_queue(session: Session) -> None:
    client = with_queues(session, "q")
    client.publish("", "missing", b"x", mandatory=True, headers={"CC": ["missing too", "q"]})
    client.drain("q")
    client.do(Basic.Get(0, "q", True))
    client.publish("", "missing", b"x", mandatory=True, headers={"CC": ["missing too"]})
    client.drain("q")


@scenario()
def what_is_returned_has_no_bcc(session: Session) -> None:
    client = with_queues(session)
    client.publish("", "missing", b"x", mandatory=True, headers={"BCC": ["q"], "a": "b"})
    client.drain()


@scenario()
def bcc_alone_leaves_an_empty_table(session: Session) -> None:
    client = with_queues(session, "q")
    client.publish("", "q", b"x", headers={"BCC": ["q"]}, message_id="m", priority=3)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def cc_is_matched_by_a_topic_exchange(session: Session) -> None:
    client = with_queues(session, "one", "two")
    with session.unrecorded():
        client.do(Exchange.Declare(0, "x", "topic"))
        client.do(Queue.Bind(0, "one", "x", "a.*"))
        client.do(Queue.Bind(0, "two", "x", "b.#"))
    client.publish("x", "a.1", b"x", headers={"CC": ["b", "a.2"]})
    client.drain("one", "two")
    client.do(Basic.Get(0, "one", True))
    client.do(Basic.Get(0, "one", True))
    client.do(Basic.Get(0, "two", True))


@scenario()
def a_long_key_in_cc(session: Session) -> None:
    client = with_queues(session, "q")
    with session.unrecorded():
        client.do(Exchange.Declare(0, "x", "topic"))
        client.do(Queue.Bind(0, "q", "x", "#.end"))
    client.publish("x", "", b"x", headers={"CC": ["k." * 200 + "end"]})
    client.drain("q")
    client.do(Queue.Purge(0, "q"))


@scenario()
def cc_in_a_transaction(session: Session) -> None:
    client = with_queues(session, "one", "two")
    client.ask(Tx.Select(), Tx.SelectOk)
    client.publish("", "one", b"x", headers={"BCC": ["two"]})
    client.drain("one", "two")
    client.do(Queue.Purge(0, "two"))
    client.ask(Tx.Commit(), Tx.CommitOk, "one", "two")
    client.do(Basic.Get(0, "two", True))
    client.do(Queue.Purge(0, "one"))
