"""The account of a queue sees each kind of wrong."""

import time
from collections.abc import Callable

import pytest

from tests.cluster.account import Account, Id, body_of, read_body

FIRST, SECOND, THIRD = (Id("publisher", number) for number in range(3))


def published() -> Account:
    account = Account("queue")
    for message in (FIRST, SECOND, THIRD):
        account.publish(message)
    return account


def test_what_is_confirmed_has_to_arrive() -> None:
    account = published()
    for message in (FIRST, SECOND):
        account.confirm(message)
    account.receive(FIRST, 1, False)
    with pytest.raises(AssertionError, match="1 of 2 confirmed messages did not arrive"):
        account.await_received(0.0)
    account.receive(SECOND, 1, False)
    account.await_received()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda account: account.receive(Id("publisher", 3), 1, False), "never published"),
        (lambda account: account.receive(FIRST, 1, False), "came behind"),
        (lambda account: account.receive(SECOND, 1, False), "more often than it was published"),
    ],
)
def test_nothing_else_may_arrive(wrong: Callable[[Account], None], what: str) -> None:
    account = published()
    account.receive(SECOND, 1, False)
    wrong(account)
    with pytest.raises(AssertionError, match=what):
        account.await_received()


def test_what_was_not_acknowledged_may_arrive_again() -> None:
    account = published()
    account.receive(FIRST, 1, False)
    account.receive(FIRST, 1, True)
    account.receive(FIRST, 2, False)
    account.publish(FIRST)
    account.receive(FIRST, 2, False)
    account.await_received()


def test_time_without_a_confirm_is_measured() -> None:
    account = published()
    since = time.monotonic()
    account.confirm(FIRST)
    assert account.not_served_s(since) < 30.0
    assert account.not_served_s(since - 30.0) >= 30.0


def test_a_body_says_which_message_it_is() -> None:
    assert read_body(body_of(THIRD, 100)) == THIRD
