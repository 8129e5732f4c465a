"""What every test of a medium begins with."""

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
