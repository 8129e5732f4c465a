"""docs/features.md agrees with the tables of arguments and of exchange types, and they with the
code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leveret.compiled import loaded_from_shared_object
from leveret.engine.lifecycle.queue_arguments import (
    CONSUMER_ARGUMENTS,
    QUEUE_ARGUMENTS,
    CheckedArgument,
    check_arguments,
)
from leveret.engine.routing.exchanges import EXCHANGE_TYPES, create
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.delayed import ROUTED_AS
from leveret.engine.routing.exchanges.delayed import TYPE as DELAYED
from leveret.engine.routing.exchanges.exchange_arguments import EXCHANGE_ARGUMENTS
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.field_table import Table
from leveret.errors import AmqpError, ReplyCode
from leveret.reference import features

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / features.DOCUMENT_PATH).read_text("utf-8")

TYPES = {*EXCHANGE_TYPES, DELAYED}
OF_ONE_TYPE = [name for name, known in EXCHANGE_ARGUMENTS.items() if known.type]
OF_ALL_TYPES = {name for name, known in EXCHANGE_ARGUMENTS.items() if not known.type}


class Watched(Table):
    """Arguments that record which of them were read."""

    def __init__(self, arguments: Table) -> None:
        super().__init__(arguments)
        self.seen: set[object] = set()

    def get(self, name: str, default: Any = None, /) -> Any:
        self.seen.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.seen.add(name)
        return super().__contains__(name)


def necessary(type_name: str) -> Table:
    """The required arguments of an exchange type."""
    return {ROUTED_AS: "fanout"} if type_name == DELAYED else {}


def test_the_tables_of_the_page_are_generated_from_those_of_the_code() -> None:
    assert features.with_tables(PAGE) == PAGE, "python -m leveret.reference.features"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        features.with_tables("# Features\n")


def test_the_exchange_types_of_the_page_are_those_of_the_broker() -> None:
    table = PAGE[PAGE.index("| Type |") :].partition("\n\n")[0]
    types = {line.split("`")[1] for line in table.splitlines()[2:]}
    assert types == TYPES


if not loaded_from_shared_object("leveret.engine.routing.exchanges.base"):
    # Compiled code looks into a dictionary without its methods, and so unwatched.

    @pytest.mark.parametrize("type_name", sorted(TYPES))
    def test_an_exchange_reads_the_arguments_in_the_table_of_its_type(
        type_name: str,
    ) -> None:
        arguments = Watched(necessary(type_name))
        create(ExchangeDeclaration(type_name, "x", False, False, False, arguments))
        of_type = {name for name, known in EXCHANGE_ARGUMENTS.items() if known.type == type_name}
        assert arguments.seen == OF_ALL_TYPES | of_type


@pytest.mark.parametrize("name", EXCHANGE_ARGUMENTS)
def test_an_exchange_argument_that_is_an_array_is_refused(name: str) -> None:
    type_name = EXCHANGE_ARGUMENTS[name].type or "direct"
    with pytest.raises(AmqpError, match=f"'{name}'") as refused:
        create(
            ExchangeDeclaration(
                type_name, "x", False, False, False, {**necessary(type_name), name: []}
            )
        )
    assert refused.value.code == ReplyCode.PRECONDITION_FAILED


@pytest.mark.parametrize("name", OF_ONE_TYPE)
def test_an_exchange_argument_has_no_effect_on_other_types(name: str) -> None:
    for other in TYPES - {EXCHANGE_ARGUMENTS[name].type}:
        made = create(
            ExchangeDeclaration(other, "x", False, False, False, {**necessary(other), name: []})
        )
        assert made.arguments[name] == []


@pytest.mark.parametrize(
    ("known", "name"),
    [(known, name) for known in (QUEUE_ARGUMENTS, CONSUMER_ARGUMENTS) for name in known],
)
def test_a_queue_or_consumer_argument_that_is_an_array_is_refused(
    known: Mapping[str, CheckedArgument], name: str
) -> None:
    with pytest.raises(AmqpError, match=f"'{name}'") as refused:
        check_arguments("queue 'q'", Arguments({name: []}, {name: "array"}), known)
    assert refused.value.code == ReplyCode.PRECONDITION_FAILED
