"""Tables in Markdown, and the sections of a page that are generated."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class GeneratedSection(NamedTuple):
    """The part of a page between two marks, which are HTML comments on lines of their own."""

    page: str
    """The page's path, for error messages."""
    name: str
    """The name in both marks."""

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: begin -->\n"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}: end -->\n"

    def replace(self, document: str, text: str) -> str:
        """The document with `text` between the marks.

        :raises ValueError: if one of the marks is missing.
        """
        before, _, rest = document.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not end:
            raise ValueError(f"{self.page}: the marks around the section {self.name} are missing")
        return f"{before}{self.begin}{text}{self.end}{after}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a line for the columns, one for the rule, and one for each row."""
    return "".join(map(_line, [columns, ["---"] * len(columns), *rows]))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
