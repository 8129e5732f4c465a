"""What every test of a medium begins with."""

from leveret_storage.errors import MediumFull
from leveret_storage.medium import Medium


def take(medium: Medium, data: bytes = b"") -> int:
    """Become the owner, with the next epoch, which is returned."""
    epoch, _ = medium.read_head()
    medium.write_head(epoch, epoch + 1, data)
    return epoch + 1


def put(medium: Medium, name: str, data: bytes) -> None:
    """Make a blob that is durable with these bytes."""
    medium.create(name)
    medium.append(name, data)
    medium.sync(name)


def content(medium: Medium, name: str) -> bytes:
    """All bytes of a blob."""
    return medium.read(name, 0, medium.size(name))


def take_when_not_full(medium: Medium) -> None:
    """Become the owner, as soon as the medium is not full."""
    while True:
        try:
            take(medium)
        except MediumFull:
            continue
        return
