"""Adding up statistics of several brokers: numbers, and the details beside them.

(RabbitMQ: HTTP API Reference; `statistics/details.py`.) Samples are added where their times are the
same, which they are where brokers look at the same moment; for a time that another broker has none
of, its nearest one counts.
"""

from typing import Any, Final

RATES: Final = ("rate", "avg_rate", "avg")
"""What of details is a number."""

TIME: Final = "timestamp"


def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The sum of what two brokers say of the same kind of thing."""
    found = dict(one)
    for name, value in other.items():
        known = found.get(name)
        if isinstance(value, dict):
            found[name] = _details(known, value) if isinstance(known, dict) else value
        elif isinstance(value, int | float) and isinstance(known, int | float):
            found[name] = known + value
        elif known is None:
            found[name] = value
    return found


def _details(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name in RATES:
        if name in one or name in other:
            found[name] = round(one.get(name, 0.0) + other.get(name, 0.0), 6)
    if "samples" in one and "samples" in other:
        found["samples"] = _samples(one["samples"], other["samples"])
    elif "samples" in other:
        found["samples"] = other["samples"]
    return found


def _samples(one: list[dict[str, int]], other: list[dict[str, int]]) -> list[dict[str, int]]:
    """The newest first, as both have them."""
    if not other:
        return one
    by_time = {each[TIME]: each["sample"] for each in other}
    newest, oldest = other[0], other[-1]
    found = []
    for each in one:
        at = each[TIME]
        nearest = newest if at >= newest[TIME] else oldest
        found.append({"sample": each["sample"] + by_time.get(at, nearest["sample"]), TIME: at})
    return found
