"""Numbers and lists in the texts of failures."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str) -> str:
    """A number, and what is counted."""
    return f"{number} {one if number == 1 else many}"


def listed(names: Sequence[str], most: int) -> str:
    """Names in quotes, and how many more there are."""
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
