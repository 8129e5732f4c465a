"""A coordination that answers what a test sets."""

from collections.abc import Collection

from leveret_storage.coordination import ClusterView, Coordination, Glance, Member, Unseen


class FakeCoordination(Coordination):
    """Always the same view; nothing changes it."""

    def __init__(self, view: ClusterView) -> None:
        self.view = view
        self.unseen: list[Unseen] = []
        self.has_free = False
        self.glances = 0
        self.ended: list[str] = []

    def join(self, member: Member, stores: int, lease_ms: int) -> None: ...

    def renew(self, stores: Collection[int]) -> ClusterView:
        return self.view

    def look(self) -> ClusterView:
        return self.view

    def glance(self) -> Glance:
        self.glances += 1
        unseen = [each for each in self.unseen if each.incarnation not in self.ended]
        return Glance(unseen, self.has_free)

    def end_leases(self, incarnation: str) -> None:
        self.ended.append(incarnation)

    def try_take(self, store: int) -> bool:
        return False

    def note_epoch(self, store: int, epoch: int) -> None: ...

    def release(self, store: int, successor: str = "") -> None: ...

    def refuse(self, store: int, reason: str) -> None: ...

    def allow(self, store: int) -> None: ...

    def move(self, store: int, member: str) -> None: ...

    def drain(self, member: str, draining: bool) -> bool:
        return False

    def forget(self, member: str) -> bool:
        return False

    def leave(self) -> None: ...

    def close(self) -> None: ...
