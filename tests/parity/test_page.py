"""docs/protocol.md says what the code does and what the scenarios show."""

import re

from leveret.engine.lifecycle.exchanges import PREDECLARED
from leveret.protocol.connections.connection import HANDLERS as CONNECTION_HANDLERS
from leveret.protocol.connections.handshake import CAPABILITIES
from leveret.protocol.handlers.dispatch import HANDLERS as CHANNEL_HANDLERS
from leveret.protocol.wire.methods import method_name
from leveret.protocol.wire.sasl import MECHANISMS
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


def test_capabilities_and_names_are_those_of_the_broker() -> None:
    table = TEXT[TEXT.index("| Server capability |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z._]+)`", table, re.MULTILINE) == list(CAPABILITIES)
    for name in (*MECHANISMS, *(name for name, _, _ in PREDECLARED)):
        assert f"`{name}`" in TEXT
