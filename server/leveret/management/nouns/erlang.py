"""Names of RabbitMQ's objects that speak of an Erlang process.

Nothing here has such a process. The names are there because tools ask for them, with zeros.
"""

from typing import Any, Final

from leveret.management.columns import Column

GARBAGE_COLLECTION: Final = {
    "fullsweep_after": 0,
    "max_heap_size": 0,
    "min_bin_vheap_size": 0,
    "min_heap_size": 0,
    "minor_gcs": 0,
}

NO_RATE: Final = {"rate": 0.0}


def process_columns() -> tuple[Column[Any], ...]:
    """The columns of a noun that is a process in RabbitMQ."""
    return (
        Column("garbage_collection", dict[str, int], lambda row: GARBAGE_COLLECTION, ZEROS),
        Column("reductions", int, lambda row: 0, ZEROS),
        Column("reductions_details", dict[str, float], lambda row: NO_RATE, ZEROS),
    )


ZEROS: Final = "Of Erlang, zeros"
