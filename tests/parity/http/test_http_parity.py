"""The HTTP API answers as RabbitMQ 3.10.8 has been recorded to, but for the listed differences."""

import pytest

from tests.parity.differences import section_of
from tests.parity.http.access import TABLE, table
from tests.parity.http.access_differences import explained
from tests.parity.http.client import Api
from tests.parity.http.compare import Mismatch, compared
from tests.parity.http.differences import DIFFERENCES, PAGE, section
from tests.parity.http.play import Play, read_recording
from tests.parity.http.sections import SECTIONS
from tests.parity.http.world import world
from tests.support.brokers import HOST, Leveret


@pytest.fixture(scope="module")
def mismatches() -> dict[str, list[Mismatch]]:
    """Every mismatch, by section: the sections are played in order, as they were recorded."""
    found: dict[str, list[Mismatch]] = {}
    with Leveret(management=True) as broker:
        play = Play(Api(HOST, broker.management_port), broker.port)
        with world(play):
            for name, section in SECTIONS.items():
                play.entries.clear()
                section(play)
                found[name] = list(compared(read_recording(name), play.entries))
        assert "internal error" not in broker.log_text(), broker.log_text()
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_answered_as_recorded(
    section: str, mismatches: dict[str, list[Mismatch]]
) -> None:
    surprises = [
        str(each)
        for each in mismatches[section]
        if not any(difference.covers(each) for difference in DIFFERENCES)
    ]
    assert not surprises, "\n".join(surprises)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.why)
def test_a_listed_difference_is_one(
    difference: object, mismatches: dict[str, list[Mismatch]]
) -> None:
    listed = [each for each in DIFFERENCES if each is difference]
    everything = [each for section in mismatches.values() for each in section]
    assert any(each.covers(mismatch) for each in listed for mismatch in everything)


def test_the_page_has_the_differences() -> None:
    assert section_of(PAGE.read_text("utf-8")) == section()


def test_every_route_lets_in_whom_it_did() -> None:
    with Leveret(management=True) as broker:
        play = Play(Api(HOST, broker.management_port), broker.port)
        ours = [line.split("\t") for line in table(play).splitlines()]
    theirs = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines()]
    assert [row[0] for row in ours] == [row[0] for row in theirs]
    users = theirs[0]
    surprises = [
        f"{recorded[0]} by {user}: {cell} for {was}"
        for recorded, row in zip(theirs, ours, strict=True)
        for user, cell, was in zip(users, row, recorded, strict=True)
        if cell != was and not explained(recorded[0], cell, was)
    ]
    assert not surprises, "\n".join(surprises)
