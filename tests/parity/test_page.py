"""docs/protocol.md says what the code does and what the scenarios show."""

import re

import pytest

from leveret.engine.deduplication import CACHE_SIZE, CACHE_TTL, HEADER
from leveret.engine.exchanges.consistent_hash import HASH_HEADER, HASH_PROPERTY
from leveret.engine.exchanges.delayed import ROUTED_AS
from leveret.engine.exchanges.delayed import TYPE as DELAYED
from leveret.engine.exchanges.recent_history import LENGTH as HISTORY_LENGTH
from leveret.engine.exchanges.types import EXCHANGE_TYPES
from leveret.engine.topology.arguments import CONSUMER_ARGUMENTS, QUEUE_ARGUMENTS, Known
from leveret.engine.topology.exchanges import ALTERNATE_EXCHANGE, PREDECLARED
from leveret.protocol.handlers import CHANNEL_HANDLERS, CONNECTION_HANDLERS
from leveret.protocol.handlers.connection import CAPABILITIES
from leveret.protocol.methods import method_name
from leveret.protocol.sasl import MECHANISMS
from tests.parity.differences import PAGE, section, section_of
from tests.parity.scenario import all_scenarios

TEXT = PAGE.read_text("utf-8")

OUTSIDE_THE_TABLES = {
    "basic.ack",
    "basic.nack",
    "basic.publish",
    "basic.reject",
    "channel.close",
    "channel.close-ok",
    "channel.open",
}
"""Methods of clients that the channel and the connection see to themselves."""


def rows(heading: str) -> dict[str, str]:
    """The first and the last cell of each row of the table with that heading."""
    table = TEXT[TEXT.index(f"| {heading} |") :].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {cells[0].strip("`"): cells[-1] for cells in lines}


def test_every_declared_difference_stands_in_the_page() -> None:
    reasons = {one.differs for one in all_scenarios() if one.differs}
    assert set(re.findall(r"^\*\*(.*)\*\*$", section_of(TEXT), re.MULTILINE)) == reasons


def test_the_differences_are_written_anew_with_their_command() -> None:
    assert section_of(TEXT) == section(), "python -m tests.parity.differences"


def test_the_methods_marked_in_the_page_are_those_of_a_client() -> None:
    handled = [divmod(index, 1 << 16) for index in (*CHANNEL_HANDLERS, *CONNECTION_HANDLERS)]
    names = {method_name(class_id, method_id) for class_id, method_id in handled}
    table = TEXT[TEXT.index("| Class | Methods") :].partition("\n\n")[0]
    marked = {
        f"{cells[0]}.{method}"
        for cells in (line.strip("| ").split(" | ") for line in table.splitlines()[2:])
        for method in re.findall(r"`([a-z-]+)`", cells[1])
    }
    assert marked == names | OUTSIDE_THE_TABLES


@pytest.mark.parametrize(
    ("heading", "known"),
    [("Argument of a queue", QUEUE_ARGUMENTS), ("Argument of a consumer", CONSUMER_ARGUMENTS)],
)
def test_the_arguments_are_those_of_the_tables(heading: str, known: dict[str, Known]) -> None:
    assert list(rows(heading)) == list(known)


def test_capabilities_types_and_names_are_those_of_the_broker() -> None:
    assert list(rows("Server capability")) == list(CAPABILITIES)
    assert set(rows("Type")) == {*EXCHANGE_TYPES, DELAYED}
    of_types = [HASH_HEADER, HASH_PROPERTY, ROUTED_AS, CACHE_SIZE, CACHE_TTL, HEADER]
    arguments = [ALTERNATE_EXCHANGE, *of_types, HISTORY_LENGTH]
    assert list(rows("Argument of an exchange")) == arguments
    for name in (*MECHANISMS, *(name for name, _, _ in PREDECLARED)):
        assert f"`{name}`" in TEXT
