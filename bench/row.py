"""A row of the table: its measurement, its contestants, and its bounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.contestants import LEVERET, RABBITMQ, Contestant
from bench.load import Timing


@dataclass(frozen=True)
class Tool:
    """What all measurements use: the compiled load program, and its timing."""

    load_program: Path
    timing: Timing


@dataclass(frozen=True)
class Sample:
    """One measurement: the figure, its details, and remarks that qualify it."""

    value: float
    details: Mapping[str, object] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


Measure = Callable[[Tool, Contestant], Sample]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `least` and `aim` bound Leveret's ratio to `against`, or Leveret's own figure if `against` is
    None. A bound of None is not set. With `lower_is_better` the figure has to be below the bounds.
    """

    key: str
    title: str
    unit: str
    measure: Measure
    against: Contestant | None
    least: float | None
    aim: float | None
    lower_is_better: bool = False
    leveret_repeat: int = 0
    """The smallest number of measurements of Leveret."""
    contestants: tuple[Contestant, ...] = (LEVERET, RABBITMQ)
