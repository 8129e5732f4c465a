"""The generated form of the tables of arguments: the tables of `docs/features.md`.

`python -m leveret.reference.features` in a checkout writes them.
"""

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Final

from leveret.engine.lifecycle.policy_keys import (
    EXCHANGE_KEYS,
    OPERATOR_KEYS,
    QUEUE_KEYS,
    WITHOUT_EFFECT,
)
from leveret.engine.lifecycle.queue_arguments import ADOPTABLE, CONSUMER_ARGUMENTS, QUEUE_ARGUMENTS
from leveret.engine.routing.exchanges.exchange_arguments import EXCHANGE_ARGUMENTS
from leveret.engine.values.arguments import ArgumentDoc
from leveret.reference.markdown import GeneratedSection, table

DOCUMENT_PATH: Final = Path("docs/features.md")
TABLES: Final = GeneratedSection(str(DOCUMENT_PATH), "arguments")

POLICY_KEYS: Final = (*QUEUE_KEYS, *EXCHANGE_KEYS)

LINE_WIDTH: Final = 125

_COLUMNS: Final = ("accepts", "default", "origin", "effect", "difference")


def with_tables(document: str) -> str:
    """`docs/features.md` with its tables generated.

    :raises ValueError: if the marks around the tables are missing.
    """
    adoptable = ", ".join(f"`{name}`" for name in QUEUE_ARGUMENTS if name in ADOPTABLE)
    queues = table(
        ("argument", *_COLUMNS),
        ((f"`{name}`", *_cells(known.doc)) for name, known in QUEUE_ARGUMENTS.items()),
    )
    consumers = table(
        ("argument", *_COLUMNS),
        ((f"`{name}`", *_cells(known.doc)) for name, known in CONSUMER_ARGUMENTS.items()),
    )
    exchanges = table(
        ("argument", "of type", *_COLUMNS),
        (
            (f"`{name}`", f"`{known.type}`" if known.type else "all", *_cells(known.doc))
            for name, known in EXCHANGE_ARGUMENTS.items()
        ),
    )
    return TABLES.replace(
        document,
        f"\n### Of a queue\n\n{queues}"
        f'\nWith `queues.redeclare = "adopt"` a declaration may change {adoptable}.\n'
        f"\n### Of a consumer\n\n{consumers}"
        f"\n### Of an exchange\n\n{exchanges}"
        f"\n### Keys of policies\n"
        f"{_paragraph('A policy may have', POLICY_KEYS)}"
        f"{_paragraph('An operator policy may have', OPERATOR_KEYS)}"
        f"{_paragraph('Kept for an export, without an effect:', sorted(WITHOUT_EFFECT))}\n",
    )


def _paragraph(text: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"\n{fill(f'{text} {listed}.', LINE_WIDTH, break_on_hyphens=False)}\n"


def _cells(doc: ArgumentDoc) -> tuple[str, ...]:
    return doc.accepts, doc.default, doc.origin, doc.effect, doc.differs or "none"


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(with_tables(DOCUMENT_PATH.read_text("utf-8")), "utf-8")
