"""The written form of the tables of arguments: the tables of `docs/features.md`.

`python -m leveret.feature_reference` in a checkout writes them anew; a test holds them against the
tables.
"""

from pathlib import Path
from typing import Final

from leveret.engine.lifecycle.queue_arguments import ADOPTABLE, CONSUMER_ARGUMENTS, QUEUE_ARGUMENTS
from leveret.engine.routing.exchanges.exchange_arguments import EXCHANGE_ARGUMENTS
from leveret.engine.values.arguments import About

DOCUMENT_PATH: Final = Path("docs/features.md")

TABLES_BEGIN: Final = "<!-- arguments: begin -->\n"
TABLES_END: Final = "<!-- arguments: end -->\n"

_COLUMNS: Final = "accepts | default | origin | what it does | where it differs"


def tables_text() -> str:
    """The tables of `docs/features.md`, from the one mark to the other."""
    adoptable = ", ".join(f"`{name}`" for name in QUEUE_ARGUMENTS if name in ADOPTABLE)
    return "".join(
        [
            TABLES_BEGIN,
            "\n### Of a queue\n\n",
            *_head("argument"),
            *(f"| `{name}` | {_cells(known.about)} |\n" for name, known in QUEUE_ARGUMENTS.items()),
            f'\nWith `queues.redeclare = "adopt"` a declaration may change {adoptable}.\n',
            "\n### Of a consumer\n\n",
            *_head("argument"),
            *(
                f"| `{name}` | {_cells(known.about)} |\n"
                for name, known in CONSUMER_ARGUMENTS.items()
            ),
            "\n### Of an exchange\n\n",
            *_head("argument | of type"),
            *(
                f"| `{name}` | {f'`{known.type}`' if known.type else 'all'}"
                f" | {_cells(known.about)} |\n"
                for name, known in EXCHANGE_ARGUMENTS.items()
            ),
            "\n",
            TABLES_END,
        ]
    )


def with_tables(document: str) -> str:
    """`docs/features.md` with its tables as they have to be.

    :raises ValueError: if the marks around them are missing.
    """
    before, _, rest = document.partition(TABLES_BEGIN)
    _, end, after = rest.partition(TABLES_END)
    if not end:
        raise ValueError(f"{DOCUMENT_PATH}: the marks around the tables are missing")
    return before + tables_text() + after


def _head(first: str) -> list[str]:
    columns = f"{first} | {_COLUMNS}"
    rule = " | ".join("---" for _ in columns.split(" | "))
    return [f"| {columns} |\n", f"| {rule} |\n"]


def _cells(about: About) -> str:
    return " | ".join(
        [about.accepts, about.default, about.origin, about.effect, about.differs or "nowhere"]
    )


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")
