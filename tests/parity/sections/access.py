"""Who may open connections and channels, and what a user without a right is refused.

The table at the end plays each method with every combination of rights, those without first.
"""

from collections.abc import Callable

from pamqp import base, commands

from tests.parity.definitions import (
    BY_RIGHTS,
    FEW_CHANNELS,
    FEW_CONNECTIONS,
    FORGER,
    NARROW,
    NO_CONNECTION,
    NO_QUEUE,
    ONE_CONNECTION,
    ONE_QUEUE,
    SHORT_LIVED,
    STRANGER,
    TOPICAL,
)
from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.parity.steps import declare_exchange
from tests.support.wire import PROTOCOL_HEADER, make_start_ok

Basic = commands.Basic
Connection = commands.Connection
Exchange = commands.Exchange
Queue = commands.Queue


def opens(session: Session, user: str, vhost: str, name: str = "a") -> Client:
    """A client that logs in and opens the connection."""
    client = session.open_socket(name)
    with session.unrecorded():
        client.raw(PROTOCOL_HEADER)
        client.receive_until(Connection.Start)
        client.send(make_start_ok(response=f"\0{user}\0{user}"), 0)
        client.receive_until(Connection.Tune)
        client.send(Connection.TuneOk(2047, 131_072, 0), 0)
    client.send(Connection.Open(vhost), 0)
    client.receive_until(Connection.OpenOk)
    return client


def play(client: Client, *methods: base.Frame) -> None:
    """Send methods one after the other, each on an open channel."""
    for method in methods:
        client.do(method)
        client.reopen_if_closed()


@scenario()
def open_without_a_permission(session: Session) -> None:
    opens(session, STRANGER, "/")


@scenario()
def open_with_empty_patterns(session: Session) -> None:
    opens(session, "nothing", "/")


@scenario()
def open_of_a_missing_vhost_without_a_permission(session: Session) -> None:
    opens(session, STRANGER, "missing")


@scenario()
def open_of_a_full_vhost(session: Session) -> None:
    opens(session, "guest", ONE_CONNECTION)
    opens(session, "guest", ONE_CONNECTION, "b")


@scenario()
def open_of_a_vhost_without_connections(session: Session) -> None:
    opens(session, "guest", NO_CONNECTION)


@scenario()
def open_of_a_full_vhost_without_a_permission(session: Session) -> None:
    opens(session, STRANGER, NO_CONNECTION)


@scenario()
def open_by_a_user_with_all_its_connections(session: Session) -> None:
    opens(session, FEW_CONNECTIONS, "/")
    opens(session, FEW_CONNECTIONS, "/", "b")


@scenario()
def a_channel_more_than_a_user_may_have(session: Session) -> None:
    client = session.connect(user=FEW_CHANNELS)
    client.open(2)
    client.send(commands.Channel.Open(), 3)
    client.receive_until_closed()


@scenario()
def the_channels_of_a_user_are_counted_over_its_connections(session: Session) -> None:
    session.connect(user=FEW_CHANNELS).open(2)
    other = opens(session, FEW_CHANNELS, "/", "b")
    other.send(commands.Channel.Open(), 1)
    other.receive_until_closed()


@scenario()
def a_queue_more_than_a_vhost_may_have(session: Session) -> None:
    client = session.connect(vhost=ONE_QUEUE)
    play(
        client,
        Queue.Declare(0, "one", exclusive=True),
        Queue.Declare(0, "one", exclusive=True),
        Queue.Declare(0, "two", exclusive=True),
        Queue.Declare(0, "two", passive=True),
        Queue.Declare(0, "", exclusive=True),
        Queue.Declare(0, "two", exclusive=True, arguments={"x-max-length": -1}),
        Queue.Declare(0, "amq.two", exclusive=True),
        Queue.Delete(0, "one"),
        Queue.Declare(0, "two", exclusive=True),
    )


@scenario()
def a_queue_in_a_vhost_without_queues(session: Session) -> None:
    client = session.connect(vhost=NO_QUEUE)
    play(client, Queue.Declare(0, "one", exclusive=True))


@scenario()
def a_user_that_is_deleted_while_it_is_connected(session: Session) -> None:
    client = session.connect(user=SHORT_LIVED)
    session.administer("delete_user", SHORT_LIVED)
    client.receive_until_closed()


@scenario()
def a_vhost_that_is_deleted_while_it_is_used(session: Session) -> None:
    client = session.connect(vhost=SHORT_LIVED)
    session.administer("delete_vhost", SHORT_LIVED)
    client.receive_until_closed()
    opens(session, "guest", SHORT_LIVED, "b")


@scenario()
def permissions_that_are_taken_from_a_user_while_it_is_connected(session: Session) -> None:
    client = session.connect(user=NARROW)
    client.do(Queue.Declare(0, "own", exclusive=True))
    client.publish("", "own", b"1")
    client.drain()
    client.reopen_if_closed()
    session.administer("set_permissions", NARROW, ".*", ".*", "")
    play(client, Queue.Bind(0, "own", "amq.direct", "k"), Basic.Get(0, "own"))
    client.publish("", "own", b"1")
    client.drain()
    session.administer("clear_permissions", NARROW)
    play(client, Queue.Declare(0, "own", exclusive=True), Queue.Declare(0, "own", passive=True))
    opens(session, NARROW, "/", "b")
    session.administer("set_permissions", NARROW, "^(own|amq\\.gen)", "^own$", "wn")


@scenario()
def patterns_are_found_anywhere_in_a_name(session: Session) -> None:
    client = session.connect(user=NARROW)
    play(
        client,
        Queue.Declare(0, "own", exclusive=True),
        Queue.Declare(0, "my own", exclusive=True),
        Queue.Declare(0, "owner", exclusive=True),
        Queue.Declare(0, "", exclusive=True),
        Queue.Purge(0, "owner"),
        Queue.Purge(0, "down"),
        Basic.Get(0, "other"),
        Basic.Get(0, ""),
    )


@scenario()
def a_name_that_is_made_up_needs_the_right_too(session: Session) -> None:
    client = session.connect(user="write-read")
    play(client, Queue.Declare(0, "", exclusive=True))


@scenario()
def a_user_id_of_somebody_else(session: Session) -> None:
    for user in ("guest", FORGER):
        client = session.connect(user, user=user)
        client.publish("", "nowhere", b"1", user_id=user)
        client.publish("", "nowhere", b"1", user_id="somebody")
        client.drain()


@scenario()
def a_user_id_of_somebody_else_without_the_right_to_write(session: Session) -> None:
    client = session.connect(user="configure-read")
    client.publish("amq.direct", "nowhere", b"1", user_id="somebody")
    client.drain()


@scenario()
def topic_permissions(session: Session) -> None:
    client = session.connect(user=TOPICAL)
    with session.unrecorded():
        client.do(declare_exchange("t", "topic"))
        client.do(declare_exchange("none", "topic"))
        client.do(declare_exchange("x", "fanout"))
        client.do(Queue.Declare(0, "q", exclusive=True))
    for exchange, key in (
        ("t", "topical.a"),
        ("t", "topicals.a"),
        ("t", ""),
        ("none", "topical.a"),
        ("none", ""),
        ("amq.topic", "any"),
        ("missing", "any"),
    ):
        client.publish(exchange, key, b"1")
        client.drain()
        client.reopen_if_closed()
    for key in ("#", "/", "topical.a", ""):
        play(
            client,
            Queue.Bind(0, "q", "t", key),
            Exchange.Bind(0, "x", "t", key),
            Exchange.Unbind(0, "x", "t", key),
            Queue.Unbind(0, "q", "t", key),
        )
    play(
        client,
        Queue.Bind(0, "q", "none", "#"),
        Queue.Bind(0, "q", "amq.topic", "any"),
        Queue.Bind(0, "missing", "t", "any"),
        Queue.Bind(0, "q", "missing", "any"),
    )


@scenario()
def topic_permissions_of_a_routing_key_in_cc(session: Session) -> None:
    client = session.connect(user=TOPICAL)
    with session.unrecorded():
        client.do(declare_exchange("t", "topic"))
    client.publish("t", "topical.a", b"1", headers={"CC": ["other"]})
    client.drain()


@scenario()
def refusals_come_before_what_is_missing(session: Session) -> None:
    client = session.connect(user="nothing")
    play(
        client,
        Queue.Declare(0, "missing", passive=True),
        declare_exchange("missing", passive=True),
        Queue.Bind(0, "missing", "missing", ""),
        Queue.Unbind(0, "missing", "missing", ""),
        Queue.Purge(0, "missing"),
        Queue.Delete(0, "missing"),
        Exchange.Bind(0, "missing", "missing", ""),
        Exchange.Unbind(0, "missing", "missing", ""),
        Exchange.Delete(0, "missing"),
        Basic.Consume(0, "missing"),
        Basic.Get(0, "missing"),
    )
    client.publish("missing", "", b"1")
    client.drain()


@scenario()
def refusals_and_wrong_declarations(session: Session) -> None:
    client = session.connect(user="nothing")
    play(
        client,
        Queue.Declare(0, "amq.q"),
        Queue.Declare(0, "q", arguments={"x-max-length": -1}),
        declare_exchange("amq.x"),
        declare_exchange("amq.direct", "fanout"),
        declare_exchange(""),
        Exchange.Delete(0, ""),
        Exchange.Delete(0, "amq.direct"),
        Exchange.Bind(0, "", "amq.direct", ""),
        Exchange.Bind(0, "amq.direct", "", ""),
        Queue.Bind(0, "q", "", ""),
        Queue.Unbind(0, "q", "", ""),
    )


@scenario()
def refusals_and_the_exclusive_queues_of_others(session: Session) -> None:
    session.connect("b").do(Queue.Declare(0, "q", exclusive=True))
    client = session.connect(user="nothing")
    play(
        client,
        Queue.Declare(0, "q"),
        Queue.Declare(0, "q", passive=True),
        Queue.Bind(0, "q", "amq.direct", ""),
        Queue.Purge(0, "q"),
        Queue.Delete(0, "q"),
        Basic.Consume(0, "q"),
        Basic.Get(0, "q"),
    )


METHODS: dict[str, base.Frame] = {
    "declaring_a_queue": Queue.Declare(0, "new"),
    "declaring_a_queue_again": Queue.Declare(0, "q"),
    "declaring_a_queue_otherwise": Queue.Declare(0, "q", durable=True),
    "declaring_a_queue_with_a_dead_letter_exchange": Queue.Declare(
        0, "dead", arguments={"x-dead-letter-exchange": "x"}
    ),
    "declaring_a_queue_with_the_default_exchange_for_dead_letters": Queue.Declare(
        0, "dead", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"}
    ),
    "declaring_a_queue_with_a_missing_dead_letter_exchange": Queue.Declare(
        0, "dead", arguments={"x-dead-letter-exchange": "missing"}
    ),
    "looking_for_a_queue": Queue.Declare(0, "q", passive=True),
    "binding_a_queue": Queue.Bind(0, "q", "x", "k"),
    "unbinding_a_queue": Queue.Unbind(0, "q", "x", "k"),
    "purging_a_queue": Queue.Purge(0, "q"),
    "declaring_an_exchange": declare_exchange("new"),
    "declaring_an_exchange_again": declare_exchange("x"),
    "declaring_an_exchange_otherwise": declare_exchange("x", "fanout"),
    "declaring_an_exchange_with_an_alternate": Exchange.Declare(
        0, "alternative", arguments={"alternate-exchange": "x"}
    ),
    "declaring_an_exchange_with_the_default_exchange_as_alternate": Exchange.Declare(
        0, "alternative", arguments={"alternate-exchange": ""}
    ),
    "looking_for_an_exchange": declare_exchange("x", passive=True),
    "looking_for_the_default_exchange": declare_exchange("", passive=True),
    "binding_an_exchange": Exchange.Bind(0, "x", "amq.direct", "k"),
    "unbinding_an_exchange": Exchange.Unbind(0, "x", "amq.direct", "k"),
    "consuming": Basic.Consume(0, "q", "c"),
    "getting": Basic.Get(0, "q", True),
    "publishing_to_an_exchange": Basic.Publish(0, "x", "k"),
    "publishing_to_a_queue": Basic.Publish(0, "", "q"),
    "setting_the_prefetch": Basic.Qos(0, 1),
    "recovering": Basic.Recover(True),
    "selecting_transactions": commands.Tx.Select(),
    "selecting_confirms": commands.Confirm.Select(),
    "deleting_a_queue": Queue.Delete(0, "q"),
    "deleting_an_exchange": Exchange.Delete(0, "x"),
}


def _with_every_combination_of_rights(method: base.Frame) -> Callable[[Session], None]:
    def play_method(session: Session) -> None:
        owner = session.connect("owner")
        with session.unrecorded():
            owner.do(Queue.Declare(0, "q"))
            owner.do(declare_exchange("x"))
        for user in BY_RIGHTS:
            client = session.connect(user, user=user)
            if isinstance(method, Basic.Publish):
                client.publish(method.exchange, method.routing_key, b"1")
                client.drain()
            else:
                client.do(method)
            with session.unrecorded():
                client.finish()

    return play_method


def _register() -> None:
    for name, method in METHODS.items():
        play_method = _with_every_combination_of_rights(method)
        play_method.__name__ = f"{name}_with_every_combination_of_rights"
        play_method.__module__ = __name__
        scenario()(play_method)


_register()
