"""Transactions: select, commit, rollback, and what waits for them."""

from pamqp import commands

from tests.parity.scenario import scenario
from tests.parity.session import Client, Session

Basic = commands.Basic
Confirm = commands.Confirm
Exchange = commands.Exchange
Queue = commands.Queue
Tx = commands.Tx


def transacting(session: Session) -> Client:
    """A client with an exclusive queue q and a transaction begun."""
    client = session.connect()
    with session.unrecorded():
        client.do(Queue.Declare(0, "q", exclusive=True))
        client.do(Tx.Select())
    return client


@scenario()
def confirm_after_tx(session: Session) -> None:
    client = session.connect()
    client.do(Tx.Select())
    client.do(Confirm.Select())


@scenario()
def tx_after_confirm(session: Session) -> None:
    client = session.connect()
    client.do(Confirm.Select())
    client.do(Tx.Select())


@scenario()
def tx_select_twice(session: Session) -> None:
    client = session.connect()
    client.do(Tx.Select())
    client.do(Tx.Select())


@scenario()
def commit_without_select(session: Session) -> None:
    client = session.connect()
    client.ask(Tx.Commit(), Tx.CommitOk)


@scenario()
def rollback_without_select(session: Session) -> None:
    client = session.connect()
    client.do(Tx.Rollback())


@scenario()
def commit_publishes(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.publish("", "q", b"2")
    client.do(Queue.Declare(0, "q", passive=True))
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q", True))
    client.do(Basic.Get(0, "q", True))


@scenario()
def commit_of_nothing(session: Session) -> None:
    client = transacting(session)
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Tx.Rollback())


@scenario()
def rollback_forgets_publishes(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.do(Tx.Rollback())
    client.do(Queue.Declare(0, "q", passive=True))
    client.publish("", "q", b"2")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q", True))


@scenario()
def rollback_keeps_deliveries_unsettled(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(1))
    client.do(Tx.Rollback())
    client.do(Queue.Declare(0, "q", passive=True))
    client.do(Basic.Nack(1))
    client.ask(Tx.Commit(), Tx.CommitOk, "q")
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(2))
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Queue.Delete(0, "q"))


@scenario()
def an_ack_in_a_transaction_waits_for_commit(session: Session) -> None:
    client = transacting(session)
    client.open(2)
    client.publish("", "q", b"1")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Ack(1))
    client.send(commands.Channel.Close(200, "bye", 0, 0), 1)
    client.receive_until(commands.Channel.CloseOk)
    client.do(Basic.Get(0, "q"), ch=2)


@scenario()
def an_ack_twice_in_a_transaction(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q"))
    client.send(Basic.Ack(1))
    client.do(Basic.Ack(1))


@scenario()
def an_unknown_tag_in_a_transaction(session: Session) -> None:
    client = transacting(session)
    client.do(Basic.Ack(7))


@scenario()
def closing_the_channel_rolls_back(session: Session) -> None:
    client = transacting(session)
    client.open(2)
    client.publish("", "q", b"1")
    client.send(commands.Channel.Close(200, "bye", 0, 0), 1)
    client.receive_until(commands.Channel.CloseOk)
    client.do(Queue.Declare(0, "q", passive=True), ch=2)


@scenario()
def mandatory_in_a_transaction_is_returned_at_commit(session: Session) -> None:
    client = transacting(session)
    client.publish("", "missing", b"1", mandatory=True)
    client.drain()
    client.ask(Tx.Commit(), Tx.CommitOk)


@scenario()
def mandatory_in_a_transaction_is_not_returned_at_rollback(session: Session) -> None:
    client = transacting(session)
    client.publish("", "missing", b"1", mandatory=True)
    client.do(Tx.Rollback())


@scenario()
def a_missing_exchange_in_a_transaction(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.publish("missing", "k", b"2")
    client.drain()


@scenario()
def an_exchange_deleted_before_commit(session: Session) -> None:
    client = transacting(session)
    client.open(2)
    client.do(Exchange.Declare(0, "x", "fanout"), ch=2)
    client.do(Queue.Bind(0, "q", "x"), ch=2)
    client.publish("x", "k", b"1", mandatory=True)
    client.drain()
    client.do(Exchange.Delete(0, "x"), ch=2)
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q", True))


@scenario()
def a_queue_deleted_before_commit(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1", mandatory=True)
    client.do(Queue.Delete(0, "q"))
    client.ask(Tx.Commit(), Tx.CommitOk)


@scenario()
def reject_in_a_transaction_waits_for_commit(session: Session) -> None:
    client = transacting(session)
    client.publish("", "q", b"1")
    client.ask(Tx.Commit(), Tx.CommitOk)
    client.do(Basic.Get(0, "q"))
    client.do(Basic.Reject(1, True))
    client.do(Queue.Declare(0, "q", passive=True))
    client.ask(Tx.Commit(), Tx.CommitOk, "q")
    client.do(Queue.Declare(0, "q", passive=True))
