"""Reading the metadata once more, before somebody is refused by what they say here.

The brokers of a cluster have the same metadata, but not at the same instant: a client may come to
one of them before the news of its user or virtual host does. A broker that shares its metadata with
no other has no such reader.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable


class MetadataReader(ABC):
    """Reads what the brokers of a cluster have in common."""

    @abstractmethod
    def request(self, done: Callable[[], None]) -> None:
        """Have the metadata be read that there are at this moment.

        :param done: called later, and once: when they are applied here, or when it is not known in
            a second or so whether there are others.
        """
