"""Twenty kills; `make crash ROUNDS=1000` for more."""

import secrets
from pathlib import Path

import pytest

from tests.conftest import CI
from tests.crash.account import Account, Id, Ledger, Move, body_of, read_body
from tests.crash.rounds import Rounds
from tests.support.examples import examples

PARTS = 4
"""Tests that the kills are split into, for the time one test may take."""

ROUNDS = examples(20 // PARTS)
"""Kills of each part."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_confirmed_is_lost_when_the_broker_is_killed(tmp_path: Path, part: int) -> None:
    seed = f"ci-{part}" if CI else secrets.token_hex(4)
    print(f"to see it again: python -m tests.crash {ROUNDS} {seed}")
    with Rounds(tmp_path / "data", seed) as rounds:
        account = rounds.account
        done = 0
        # On a busy machine a kill may come before each kind of work was done once.
        while done < ROUNDS or not all(
            (account.confirmed, account.acknowledged, account.moved, account.defined)
        ):
            result = rounds.run()
            assert not result.wrong, f"round {result.seed}"
            done += 1


def test_an_audit_sees_each_kind_of_wrong() -> None:
    first, second, third = (Id(1, number) for number in range(3))

    def audit(found: list[Id | None], killed_at: float = 0.0) -> str:
        ledger = Ledger("queue")
        ledger.sent = dict.fromkeys((first, second, third))
        ledger.confirmed = {first, second}
        ledger.acked = {first: 1.0}
        ledger.settled = {third}
        return "; ".join(ledger.audit(found, killed_at)[0])

    assert audit([second]) == ""
    assert audit([first, second], killed_at=2.0) == ""
    assert "confirmed and are lost: 1.1" in audit([])
    assert "are there twice: 1.1" in audit([second, second])
    assert "never sent, or settled before: 2.0" in audit([second, Id(2, 0)])
    assert "a body nobody sent" in audit([second, None])
    assert "Id(publisher=1, number=0) is behind" in audit([second, first], killed_at=2.0)
    assert "acknowledged more than 2 s ago: 1.0" in audit([first, second], killed_at=4.0)
    assert "came back after an answered tx.commit: 1.2" in audit([second, third])


def test_an_audit_sees_a_transaction_that_is_there_in_part() -> None:
    acknowledged, put, other = Id(1, 0), Id(2, 0), Id(2, 1)

    def audit(source: list[Id | None], target: list[Id | None]) -> str:
        account = Account()
        account.sent(acknowledged, ["source"])
        account.confirm(acknowledged, ["source"])
        account.commit(21, Move("source", [acknowledged], [("target", put), ("target", other)]))
        wrong = account.audit_moves({"source": set(source), "target": set(target)})
        wrong += account.ledger("source").audit(source, 0.0)[0]
        return "; ".join(wrong)

    assert audit([acknowledged], []) == ""
    assert audit([], [put, other]) == ""
    assert "there in part" in audit([acknowledged], [put, other])
    assert "there in part" in audit([], [put])
    assert "confirmed and are lost: 1.0" in audit([], [])


def test_a_body_is_read_only_as_it_was_sent() -> None:
    body = body_of(Id(3, 1000), 5000)
    assert read_body(body) == Id(3, 1000)
    assert read_body(body[:-1]) is None
    assert read_body(body[:4000] + b"!" + body[4001:]) is None
    assert read_body(b"") is None
