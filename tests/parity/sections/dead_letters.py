"""Dead letters: why, where they go, what they say, and when they go nowhere."""

from pamqp import commands, common

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session

Basic = commands.Basic
Channel = commands.Channel
Exchange = commands.Exchange
Queue = commands.Queue

DEFAULT = {"x-dead-letter-exchange": ""}


def to(queue: str, **more: common.FieldValue) -> common.FieldTable:
    """The arguments of a queue whose dead letters go to another."""
    named: common.FieldTable = {f"x-{key.replace('_', '-')}": each for key, each in more.items()}
    return DEFAULT | {"x-dead-letter-routing-key": queue} | named


def with_queues(session: Session, **queues: common.FieldTable) -> Client:
    """A client with queues of these names and arguments, and a queue dead."""
    client = session.connect()
    client.do(Queue.Declare(0, "dead"))
    for name, arguments in queues.items():
        client.do(Queue.Declare(0, name, arguments=arguments))
    return client


def reject(client: Client, *queues: str, queue: str = "q", tag: int = 1) -> None:
    """Fetch the next message of a queue and reject it, which gets the tag as its delivery tag."""
    client.do(Basic.Get(0, queue), queue)
    client.do(Basic.Reject(tag, False), queue, *queues, "dead")


def see_dead(client: Client, queue: str = "dead") -> None:
    """Fetch from a queue what is there, if anything is."""
    client.do(Basic.Get(0, queue, True), queue)


@scenario()
def a_rejected_message(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def a_message_refused_with_nack(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    for content in (b"1", b"2", b"3"):
        client.publish("", "q", content)
        client.drain("q")
        client.do(Basic.Get(0, "q"), "q")
    client.do(Basic.Nack(2, True, False), "q", "dead")
    client.do(Basic.Nack(3, False, False), "q", "dead")
    for _ in range(4):
        see_dead(client)


@scenario()
def an_expired_message(session: Session) -> None:
    client = with_queues(session, q=to("dead", message_ttl=20))
    client.publish("", "q", b"1")
    client.wait_for_depth("dead", 1)
    see_dead(client)


@scenario()
def a_message_that_expired_by_itself_lives_on_for_ever(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1", expiration="20", content_type="text/plain", priority=3)
    client.wait_for_depth("dead", 1)
    see_dead(client)


@scenario()
def a_message_with_an_expiration_that_is_rejected(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1", expiration="3600000")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def a_message_too_many(session: Session) -> None:
    client = with_queues(session, q=to("dead", max_length=1))
    client.publish("", "q", b"1")
    client.publish("", "q", b"2")
    client.drain("q", "dead")
    see_dead(client)


@scenario()
def a_message_with_properties_keeps_them(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish(
        "",
        "q",
        b"1",
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"zebra": 1, "apple": "a", "x-death-of-mine": True},
        delivery_mode=2,
        priority=7,
        correlation_id="c",
        reply_to="r",
        message_id="m",
        message_type="t",
        user_id="guest",
        app_id="app",
    )
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def a_message_that_was_published_to_an_exchange(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.do(Exchange.Declare(0, "x", "topic"))
    client.do(Queue.Bind(0, "q", "x", "#"))
    client.publish("x", "some.key", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def without_a_routing_key_of_its_own_the_message_keeps_its_key(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "x", "direct"))
    client.do(Queue.Bind(0, "dead", "x", "q"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def the_keys_in_cc_count_where_the_queue_has_no_key_of_its_own(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Queue.Declare(0, "other"))
    client.do(Exchange.Declare(0, "x", "direct"))
    client.do(Queue.Bind(0, "dead", "x", "first"))
    client.do(Queue.Bind(0, "other", "x", "second"))
    client.publish("", "q", b"1", headers={"CC": ["first", "second"]})
    client.drain("q")
    reject(client, "other")
    see_dead(client)
    see_dead(client, "other")


@scenario()
def a_routing_key_of_the_queue_takes_the_place_of_cc(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.do(Queue.Declare(0, "other"))
    client.publish("", "q", b"1", headers={"CC": ["other"], "mine": 1})
    client.drain("q", "other")
    see_dead(client, "other")
    reject(client, "other", tag=2)
    see_dead(client)
    see_dead(client, "other")


@scenario()
def keys_in_bcc_are_forgotten(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "x", "fanout"))
    client.do(Queue.Bind(0, "dead", "x"))
    client.publish("", "q", b"1", headers={"BCC": ["nobody"], "CC": ["nowhere"]})
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def without_the_exchange_it_is_gone(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "missing"})
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def an_exchange_that_comes_later_counts(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "x", "fanout"))
    client.do(Queue.Bind(0, "dead", "x"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def without_a_route_it_is_gone(session: Session) -> None:
    client = with_queues(session, q=to("missing"))
    client.publish("", "q", b"1", mandatory=True)
    client.drain("q")
    reject(client)
    client.do(Queue.Declare(0, "q", passive=True))


@scenario()
def an_alternate_exchange_takes_what_has_no_route(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "y", "fanout"))
    client.do(Exchange.Declare(0, "x", "direct", arguments={"alternate-exchange": "y"}))
    client.do(Queue.Bind(0, "dead", "y"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def an_internal_exchange_takes_dead_letters(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "x", "fanout", internal=True))
    client.do(Queue.Bind(0, "dead", "x"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def an_exchange_that_copies_makes_a_dead_letter_for_each_queue(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Queue.Declare(0, "other"))
    client.do(Exchange.Declare(0, "x", "fanout"))
    client.do(Queue.Bind(0, "dead", "x"))
    client.do(Queue.Bind(0, "other", "x"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client, "other")
    see_dead(client)
    see_dead(client, "other")


@scenario()
def a_headers_exchange_sees_how_a_message_died(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x"})
    client.do(Exchange.Declare(0, "x", "headers"))
    arguments: common.FieldTable = {"x-match": "all-with-x", "x-first-death-reason": "rejected"}
    client.do(Queue.Bind(0, "dead", "x", "", arguments=arguments))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def a_second_death_in_the_same_queue_counts(session: Session) -> None:
    client = with_queues(session, q=to("q"))
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client, "q", tag=1)
    reject(client, "q", tag=2)
    client.do(Basic.Get(0, "q"), "q")


@scenario()
def a_death_in_a_second_queue_comes_first(session: Session) -> None:
    client = with_queues(session, q=to("p", message_ttl=20), p=to("dead"))
    client.publish("", "q", b"1")
    client.wait_for_depth("p", 1)
    reject(client, queue="p")
    see_dead(client)


@scenario()
def a_death_of_another_kind_in_the_same_queue(session: Session) -> None:
    client = with_queues(session, q=to("q"))
    client.publish("", "q", b"1", expiration="3600000")
    client.drain("q")
    reject(client)
    client.do(Basic.Get(0, "q"), "q")
    client.do(Queue.Declare(0, "p", arguments=to("dead", max_length=0)))
    client.do(Basic.Reject(2, False), "q")
    see_dead(client, "q")


@scenario()
def a_circle_of_expiries_ends(session: Session) -> None:
    client = with_queues(session, q=to("p", message_ttl=20), p=to("q", message_ttl=20))
    client.publish("", "q", b"1")
    client.wait_for_depth("q", 0)
    client.wait_for_depth("p", 0)
    see_dead(client, "q")
    see_dead(client, "p")


@scenario()
def a_queue_that_is_its_own_target_drops_what_expires(session: Session) -> None:
    client = with_queues(session, q=to("q", message_ttl=20))
    client.publish("", "q", b"1")
    client.wait_for_depth("q", 0)
    see_dead(client, "q")


@scenario()
def a_circle_with_a_rejection_goes_on(session: Session) -> None:
    client = with_queues(session, q=to("p"), p=to("q", message_ttl=20))
    client.publish("", "q", b"1")
    client.drain("q")
    for tag in (1, 2):
        reject(client, tag=tag)
        client.wait_for_depth("q", 1)
    client.do(Basic.Get(0, "q"), "q")


@scenario()
def a_circle_cut_in_one_queue_goes_on_in_others(session: Session) -> None:
    client = with_queues(session, q={"x-dead-letter-exchange": "x", "x-message-ttl": 20})
    client.do(Exchange.Declare(0, "x", "fanout"))
    client.do(Queue.Bind(0, "q", "x"))
    client.do(Queue.Bind(0, "dead", "x"))
    client.publish("", "q", b"1")
    client.wait_for_depth("dead", 1)
    see_dead(client)
    see_dead(client, "q")


@scenario()
def a_dead_letter_that_a_client_sends_on_counts_on(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    headers: common.FieldTable = {
        "x-death": [{"queue": "q", "reason": "rejected", "count": 4, "exchange": "was"}]
    }
    client.publish("", "q", b"1", headers=headers)
    client.drain("q")
    reject(client)
    see_dead(client)


@scenario()
def a_first_death_that_a_client_sends_stays(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    headers: common.FieldTable = {"x-first-death-queue": "mine", "x-first-death-reason": "mine"}
    client.publish("", "q", b"1", headers=headers)
    client.drain("q")
    reject(client)
    see_dead(client)


def dies_with_deaths(session: Session, deaths: common.FieldValue) -> None:
    """Let a message die that a client sent with something for its deaths."""
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1", headers={"x-death": deaths})
    client.drain("q")
    reject(client)
    client.do(Queue.Declare(0, "q", passive=True))
    see_dead(client)


@scenario()
def deaths_that_are_a_text(session: Session) -> None:
    dies_with_deaths(session, "q rejected")


@scenario()
def deaths_that_are_a_table(session: Session) -> None:
    dies_with_deaths(session, {"queue": "q"})


@scenario()
def no_deaths_in_an_array(session: Session) -> None:
    dies_with_deaths(session, [])


@scenario()
def deaths_of_another_queue_without_a_count(session: Session) -> None:
    dies_with_deaths(session, [{"queue": "other", "reason": "rejected"}])


@scenario()
def deaths_of_the_queue_without_a_count(session: Session) -> None:
    dies_with_deaths(session, [{"queue": "q", "reason": "rejected"}])


@scenario()
def a_dead_letter_reaches_a_consumer(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.do(Basic.Consume(0, "dead", "tag", no_ack=True))
    client.publish("", "q", b"1")
    client.drain("q")
    client.do(Basic.Get(0, "q"), "q")
    client.do(Basic.Reject(1, False), "q", "dead")


@scenario()
def a_dead_letter_in_a_queue_with_a_time_to_live(session: Session) -> None:
    client = with_queues(session, q=to("p"), p=to("dead", message_ttl=20))
    client.publish("", "q", b"1", expiration="3600000")
    client.drain("q")
    client.do(Basic.Get(0, "q"), "q")
    client.do(Basic.Reject(1, False), "q", "p")
    client.wait_for_depth("dead", 1)
    see_dead(client)


@scenario()
def a_dead_letter_refused_by_a_full_queue_is_gone(session: Session) -> None:
    client = with_queues(
        session, q=to("p"), p=to("dead", max_length=0, overflow="reject-publish-dlx")
    )
    client.publish("", "q", b"1")
    client.drain("q")
    reject(client, "p")
    see_dead(client)


@scenario()
def a_rejection_in_a_transaction_waits_for_the_commit(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1")
    client.drain("q")
    client.do(commands.Tx.Select())
    reject(client)
    client.do(Queue.Declare(0, "dead", passive=True))
    client.ask(commands.Tx.Commit(), commands.Tx.CommitOk, "q", "dead")
    see_dead(client)


@scenario()
def a_rejection_rolled_back_makes_no_dead_letter(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.publish("", "q", b"1")
    client.drain("q")
    client.do(commands.Tx.Select())
    reject(client)
    client.do(commands.Tx.Rollback())
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def a_message_of_a_channel_that_closes_is_no_dead_letter(session: Session) -> None:
    client = with_queues(session, q=to("dead"))
    client.open(2)
    client.publish("", "q", b"1")
    client.drain("q")
    client.do(Basic.Get(0, "q"), "q", ch=2)
    client.send(Channel.Close(200, "bye", 0, 0), 2)
    client.receive_until(Channel.CloseOk)
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Queue.Declare(0, "dead", passive=True))


@scenario()
def an_exchange_that_must_be_text(session: Session) -> None:
    client = session.connect()
    client.do(Queue.Declare(0, "q", arguments={"x-dead-letter-exchange": 1}))
    client.reopen_if_closed()
    client.do(Queue.Declare(0, "q", arguments={"x-dead-letter-routing-key": "k"}))
    client.reopen_if_closed()
    client.do(Queue.Declare(0, "q", arguments=DEFAULT | {"x-dead-letter-routing-key": 1}))
