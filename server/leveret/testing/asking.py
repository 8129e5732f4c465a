"""How the parts of a handle have its broker carry out commands."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Asks(Protocol):
    """Has the broker carry out a command."""

    def __call__(
        self,
        command: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Its result.

        :raises BrokerError: if the broker does not run.
        """
