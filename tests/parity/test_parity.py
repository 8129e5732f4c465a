"""Leveret answers every scenario as RabbitMQ 3.10.8 did, or as the scenario says and why."""

from collections.abc import Iterator

import pytest
from pamqp import commands

from tests.parity.definitions import definitions_file
from tests.parity.scenario import Scenario, all_scenarios, read_recordings
from tests.parity.session import Session
from tests.parity.transcript import received
from tests.support.brokers import Leveret

SCENARIOS = all_scenarios()
RECORDINGS = read_recordings()


@pytest.fixture(scope="module")
def broker() -> Iterator[Leveret]:
    with (
        definitions_file() as definitions,
        Leveret(env={"LEVERET_DEFINITIONS_FILE": str(definitions)}) as running,
    ):
        yield running


def test_every_scenario_is_recorded_and_every_recording_has_its_scenario() -> None:
    assert {one.id for one in SCENARIOS} == RECORDINGS.keys()


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.id)
def test_transcript_equals_the_recording(one: Scenario, broker: Leveret) -> None:
    transcript = one.run(broker)
    assert received(transcript) == one.expected(RECORDINGS[one.id]), "\n".join(transcript)


@pytest.mark.parametrize("one", [one for one in SCENARIOS if one.differs], ids=lambda one: one.id)
def test_a_declared_difference_is_one(one: Scenario) -> None:
    assert one.expected(RECORDINGS[one.id]) != received(RECORDINGS[one.id])


def test_a_broker_that_never_stops_talking_is_given_up(
    broker: Leveret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.parity.session.SCENARIO_DEADLINE_S", 0.5)

    with Session(broker.host, broker.port) as session:
        client = session.connect()
        while not client.disconnected:
            client.send(commands.Basic.Recover(True))
            client.receive_until(commands.Basic.RecoverOk)
    assert session.lines[-1] == "a < no end"
