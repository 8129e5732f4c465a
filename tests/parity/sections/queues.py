"""Queues: declaring, deleting, purging, binding, and exclusivity."""

from pamqp import commands

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session
from tests.support.wire import raw_method, short_string, table

Basic = commands.Basic
Exchange = commands.Exchange
Queue = commands.Queue


def declare(
    name: str,
    *,
    passive: bool = False,
    durable: bool = False,
    exclusive: bool = False,
    auto_delete: bool = False,
    nowait: bool = False,
) -> Queue.Declare:
    """queue.declare without arguments."""
    return Queue.Declare(0, name, passive, durable, exclusive, auto_delete, nowait)


def fill(client: Client, queue: str, *contents: bytes) -> None:
    """Publish contents into a queue."""
    for content in contents:
        client.publish("", queue, content)
    client.drain(queue)


@scenario()
def declare_and_redeclare_the_same(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", durable=True))
    client.do(declare("q", durable=True))
    client.do(declare("q", passive=True))


@scenario()
def declare_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", nowait=True))
    client.do(declare("q", passive=True))


@scenario()
def declare_counts_ready_messages_and_consumers(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1", b"2", b"3")
    client.do(Basic.Get(0, "q"))
    client.do(declare("q"))
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"), "q")
    client.do(declare("q", passive=True))


@scenario()
def passive_declare_of_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", passive=True))


@scenario()
def passive_declare_does_not_look_at_the_options(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", durable=True))
    client.do(declare("q", passive=True, auto_delete=True))


@scenario()
def a_server_names_a_queue(session: Session) -> None:
    client = session.connect()
    client.do(declare("", exclusive=True))
    client.do(declare("", exclusive=True))
    client.do(declare("", passive=True))
    client.publish("", "nothing", b"")
    client.drain()


@scenario()
def an_empty_name_means_the_last_declared_queue(session: Session) -> None:
    client = session.connect()
    client.do(declare("first", exclusive=True))
    client.do(declare("q", exclusive=True))
    client.do(Queue.Bind(0, "", "amq.direct", "k"))
    client.publish("amq.direct", "k", b"1")
    client.publish("amq.direct", "k", b"2")
    client.drain("q")
    client.do(Basic.Get(0, "", True))
    client.do(Queue.Purge(0, ""))
    client.do(Basic.Consume(0, "", "tag"))
    client.do(Queue.Unbind(0, "", "amq.direct", "k"))
    client.do(Queue.Delete(0, ""))
    client.drain()
    client.do(Queue.Purge(0, ""))


@scenario()
def an_empty_routing_key_means_the_last_declared_queue_when_its_name_is_left_out(
    session: Session,
) -> None:
    client = session.connect()
    client.do(declare("q", exclusive=True))
    client.do(Queue.Bind(0, "", "amq.direct", ""))
    client.publish("amq.direct", "q", b"to q", mandatory=True)
    client.drain("q")
    client.do(Basic.Get(0, "q", True))
    client.do(Queue.Unbind(0, "", "amq.direct", ""))
    client.publish("amq.direct", "q", b"to nobody", mandatory=True)
    client.drain("q")


@scenario()
def an_empty_routing_key_is_itself_when_the_queue_is_named(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", exclusive=True))
    client.do(Queue.Bind(0, "q", "amq.direct", ""))
    client.publish("amq.direct", "", b"to q", mandatory=True)
    client.publish("amq.direct", "q", b"to nobody", mandatory=True)
    client.drain("q")


@scenario()
def an_empty_name_without_a_declaration_in_get(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Get(0, ""))


@scenario()
def an_empty_name_without_a_declaration_in_bind(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Bind(0, "", "amq.direct", "k"))


@scenario()
def an_empty_name_without_a_declaration_in_unbind(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Unbind(0, "", "amq.direct", "k"))


@scenario()
def an_empty_name_without_a_declaration_in_purge(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Purge(0, ""))


@scenario()
def an_empty_name_without_a_declaration_in_delete(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Delete(0, ""))


@scenario()
def an_empty_name_without_a_declaration_in_consume(session: Session) -> None:
    client = session.connect()
    client.do(Basic.Consume(0, "", "tag"))


@scenario()
def an_empty_name_without_a_declaration_in_passive_declare(session: Session) -> None:
    client = session.connect()
    client.do(declare("", passive=True))


@scenario()
def the_last_declared_queue_is_the_channels(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(declare("q", exclusive=True))
    client.do(Queue.Purge(0, ""), ch=2)


@scenario()
def a_passive_declare_counts_as_the_last_declared(session: Session) -> None:
    client = session.connect()
    client.do(declare("q1", exclusive=True))
    client.do(declare("q2", exclusive=True))
    fill(client, "q1", b"1")
    client.do(declare("q1", passive=True))
    client.do(Queue.Purge(0, ""))


@scenario()
def redeclare_with_another_durability(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", durable=True))
    client.do(declare("q"))


@scenario()
def redeclare_with_another_auto_delete(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(declare("q", auto_delete=True))


@scenario()
def redeclare_as_exclusive(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(declare("q", exclusive=True))


@scenario()
def redeclare_an_exclusive_queue_as_shared(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", exclusive=True))
    client.do(declare("q"))


@scenario()
def redeclare_names_the_first_of_several_differences(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", arguments={"x-expires": 60_000}))
    client.do(declare("q", durable=True, auto_delete=True, exclusive=True))
    client.open(1)
    client.do(declare("q", durable=True, auto_delete=True))
    client.open(1)
    client.do(declare("q", auto_delete=True))
    client.open(1)
    client.do(declare("q"))


@scenario()
def a_durable_exclusive_queue_redeclared_as_durable(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", durable=True, exclusive=True))
    client.do(declare("q", durable=True, exclusive=True))


@scenario()
def a_durable_exclusive_queue_redeclared_as_transient(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", durable=True, exclusive=True))
    client.do(declare("q", exclusive=True))


@scenario()
def a_reserved_name(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.mine"))


@scenario()
def a_reserved_name_passively(session: Session) -> None:
    client = session.connect()
    client.do(declare("amq.mine", passive=True))


@scenario()
def a_server_named_queue_redeclared_by_its_name(session: Session) -> None:
    client = session.connect()
    client.do(declare("", exclusive=True))
    client.do(Queue.Declare(0, client.generated_name, exclusive=True))


@scenario()
def a_name_with_line_ends(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q\r\n2") + b"\x04\0\0\0\0"))
    client.drain()
    client.do(declare("q2", passive=True))


@scenario()
def a_name_beyond_ascii(session: Session) -> None:
    client = session.connect()
    name = short_string("café \U0001f407")
    client.raw(raw_method(1, 50, 10, b"\0\0" + name + b"\x04" + table({})))
    client.drain()


@scenario()
def a_name_of_255_bytes(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q" * 255) + b"\x04" + table({})))
    client.drain()


@scenario()
def an_error_text_is_cut_to_255_bytes(session: Session) -> None:
    client = session.connect()
    client.raw(raw_method(1, 50, 10, b"\0\0" + short_string("q" * 255) + b"\x01" + table({})))
    client.drain()


@scenario()
def an_exclusive_queue_is_locked_for_other_connections(session: Session) -> None:
    owner = session.connect("a")
    owner.do(declare("q", exclusive=True))
    other = session.connect("b")
    for method in (
        declare("q", exclusive=True),
        declare("q"),
        declare("q", passive=True),
        Basic.Consume(0, "q", "tag"),
        Basic.Get(0, "q", True),
        Queue.Bind(0, "q", "amq.direct", "k"),
        Queue.Purge(0, "q"),
        Queue.Delete(0, "q"),
    ):
        other.do(method)
        other.open(1)


@scenario()
def unbinding_what_is_not_bound_of_another_connections_exclusive_queue_succeeds(
    session: Session,
) -> None:
    owner = session.connect("a")
    owner.do(declare("q", exclusive=True))
    other = session.connect("b")
    other.do(Queue.Unbind(0, "q", "amq.direct", "k"))


@scenario()
def unbinding_another_connections_exclusive_queue(session: Session) -> None:
    owner = session.connect("a")
    owner.do(declare("q", exclusive=True))
    owner.do(Queue.Bind(0, "q", "amq.direct", "k"))
    other = session.connect("b")
    other.do(Queue.Unbind(0, "q", "amq.direct", "k"))
    other.publish("amq.direct", "k", b"", mandatory=True)
    other.drain()


@scenario()
def publishing_to_another_connections_exclusive_queue_succeeds(session: Session) -> None:
    owner = session.connect("a")
    owner.do(declare("q", exclusive=True))
    other = session.connect("b")
    other.publish("", "q", b"hello", mandatory=True)
    other.drain()
    owner.drain("q")
    owner.do(Basic.Get(0, "q", True))


@scenario()
def an_exclusive_queue_is_open_to_all_channels_of_its_connection(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(declare("q", exclusive=True), ch=1)
    client.do(declare("q", passive=True), ch=2)
    client.do(Queue.Delete(0, "q"), ch=2)


@scenario()
def delete_says_how_many_messages_went(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1", b"2")
    client.do(Queue.Delete(0, "q"))
    client.do(Queue.Delete(0, "q"))
    client.do(declare("q", passive=True))


@scenario()
def delete_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Delete(0, "q", nowait=True))
    client.do(declare("q", passive=True))


@scenario()
def delete_if_unused(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Basic.Consume(0, "q", "tag"))
    client.open(2)
    client.do(Queue.Delete(0, "q", if_unused=True), ch=2)
    client.do(Basic.Cancel("tag"))
    client.open(2)
    client.do(Queue.Delete(0, "q", if_unused=True), ch=2)


@scenario()
def delete_if_empty(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1")
    client.do(Queue.Delete(0, "q", if_empty=True))
    client.open(1)
    client.do(Queue.Purge(0, "q"))
    client.do(Queue.Delete(0, "q", if_empty=True))


@scenario()
def delete_if_unused_and_if_empty_looks_at_the_consumers_or_the_messages_first(
    session: Session,
) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Basic.Qos(0, 1))
    client.do(Basic.Consume(0, "q", "tag"))
    fill(client, "q", b"1", b"2")
    client.open(2)
    client.do(Queue.Delete(0, "q", if_unused=True, if_empty=True), ch=2)


@scenario()
def delete_if_empty_counts_ready_messages_only(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1")
    client.do(Basic.Get(0, "q"))
    client.do(Queue.Delete(0, "q", if_empty=True))


@scenario()
def delete_if_unused_when_missing(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Delete(0, "q", if_unused=True, if_empty=True))


@scenario()
def purge_takes_ready_messages_only(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1", b"2", b"3")
    client.do(Basic.Get(0, "q"))
    client.do(Queue.Purge(0, "q"))
    client.do(Basic.Nack(1))
    client.drain("q")
    client.do(Basic.Get(0, "q", True))


@scenario()
def purge_of_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Purge(0, "q"))


@scenario()
def purge_without_waiting(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    fill(client, "q", b"1")
    client.do(Queue.Purge(0, "q", nowait=True))
    client.do(declare("q", passive=True))


@scenario()
def bind_and_bind_again_and_unbind(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Bind(0, "q", "amq.direct", "k"))
    client.do(Queue.Bind(0, "q", "amq.direct", "k"))
    client.do(Queue.Bind(0, "q", "amq.direct", "other", nowait=True))
    client.publish("amq.direct", "k", b"1", mandatory=True)
    client.publish("amq.direct", "other", b"2", mandatory=True)
    client.drain("q")
    client.do(Queue.Unbind(0, "q", "amq.direct", "k"))
    client.do(Queue.Unbind(0, "q", "amq.direct", "k"))
    client.publish("amq.direct", "k", b"3", mandatory=True)
    client.drain("q")
    client.do(Queue.Delete(0, "q"))


@scenario()
def bind_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Bind(0, "missing", "amq.direct", "k"))


@scenario()
def bind_to_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Bind(0, "q", "missing", "k"))


@scenario()
def bind_where_both_are_missing(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Bind(0, "missing", "gone", "k"))


@scenario()
def bind_to_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Bind(0, "q", "", "k"))


@scenario()
def unbind_from_the_default_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Unbind(0, "q", "", "q"))


@scenario()
def unbind_a_missing_queue(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Unbind(0, "missing", "amq.direct", "k"))


@scenario()
def unbind_from_a_missing_exchange(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Unbind(0, "q", "missing", "k"))


@scenario()
def bindings_of_a_direct_exchange_differ_by_their_arguments(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Bind(0, "q", "amq.direct", "k", arguments={"a": 1}))
    client.do(Queue.Bind(0, "q", "amq.direct", "k"))
    client.do(Queue.Unbind(0, "q", "amq.direct", "k"))
    client.publish("amq.direct", "k", b"1", mandatory=True)
    client.drain("q")
    client.do(Queue.Unbind(0, "q", "amq.direct", "k", {"a": 1}))
    client.publish("amq.direct", "k", b"2", mandatory=True)
    client.drain("q")


@scenario()
def an_auto_delete_queue_goes_with_its_last_consumer(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", auto_delete=True))
    client.do(Basic.Consume(0, "q", "one"))
    client.do(Basic.Consume(0, "q", "two"))
    client.do(Basic.Cancel("one"))
    client.do(declare("q", auto_delete=True))
    client.do(Basic.Cancel("two"))
    client.do(declare("q", passive=True))


@scenario()
def an_auto_delete_queue_goes_with_its_last_consumers_channel(session: Session) -> None:
    client = session.connect()
    client.open(2)
    client.do(declare("q", auto_delete=True))
    client.do(Basic.Consume(0, "q", "one"), ch=2)
    client.send(commands.Channel.Close(200, "bye", 0, 0), 2)
    client.receive_until(commands.Channel.CloseOk)
    client.do(declare("q", passive=True))


@scenario()
def an_auto_delete_queue_without_consumers_stays(session: Session) -> None:
    client = session.connect()
    client.do(declare("q", auto_delete=True))
    client.do(Basic.Get(0, "q", True))
    client.do(declare("q", passive=True))


@scenario()
def deleting_a_queue_unbinds_it(session: Session) -> None:
    client = session.connect()
    client.do(declare("q"))
    client.do(Queue.Bind(0, "q", "amq.direct", "k"))
    client.do(Queue.Delete(0, "q"))
    client.do(declare("q"))
    client.publish("amq.direct", "k", b"", mandatory=True)
    client.drain("q")
