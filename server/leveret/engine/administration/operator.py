"""An operator at work: changes the metadata, and writes the audit log.

The functions beside this file check what is asked for and call it. Every change is one event of the
log: who, from where, what. No secret is among the values.
"""

from typing import Any, Final

import msgspec

from leveret.engine.administration.secrets import redacted
from leveret.engine.metadata.entities import KIND, Entity, kind_of
from leveret.engine.metadata.metadata import Metadata
from leveret.logging import get_logger

SECRETS: Final = ("password_hash",)
"""Fields that are not logged."""

logger = get_logger()


class Refused(Exception):
    """What is asked for is wrong, or not allowed; the text is one line for the operator."""


class NotFound(Refused):
    """What is asked for does not exist."""


class Unavailable(Refused):
    """What is asked for cannot be done at the moment, or it is unknown whether it was done; the
    text says what has to be waited for."""


class Operator:
    """Who changes something, and from where."""

    def __init__(self, metadata: Metadata, name: str, origin: str, *, silent: bool = False) -> None:
        """
        :param name: of the user, or of the system's user at the control socket.
        :param origin: the address, or what stands for one.
        :param silent: whether nothing is logged, because the metadata are not those of a broker.
        """
        self._silent = silent
        self.metadata = metadata
        self.name = name
        self.origin = origin

    @property
    def label(self) -> str:
        """Who it is, as the declarations of queues name it."""
        return f"{self.name} from {self.origin}"

    def put(self, entity: Entity) -> None:
        """Add or replace an entity that was checked.

        :raises Unavailable: if nothing can be changed at the moment.
        """
        if self.metadata.get(type(entity), *entity.key) == entity:
            return
        self._check_availability()
        self.metadata.put(entity)
        fields: dict[str, Any] = msgspec.to_builtins(entity)
        self.log(f"{fields.pop(KIND)} set", fields)

    def delete(self, kind: type[Entity], *key: str) -> bool:
        """Delete an entity; whether there was one.

        :raises Unavailable: if nothing can be changed at the moment.
        """
        self._check_availability()
        if not self.metadata.delete(kind, *key):
            return False
        self.log(f"{kind_of(kind)} deleted", {"key": list(key)})
        return True

    def _check_availability(self) -> None:
        reason = self.metadata.refusal()
        if reason:
            raise Unavailable(f"definitions cannot be changed at the moment: {reason}")

    def log(self, what: str, fields: dict[str, Any]) -> None:
        """Write an event of the audit log."""
        if self._silent:
            return
        values = {name: redacted(value) for name, value in fields.items() if name not in SECRETS}
        if isinstance(fields.get("name"), str) and "value" in values:
            values["value"] = redacted(fields["value"], fields["name"])
        logger.info("audit", who=self.name, origin=self.origin, what=what, **values)
