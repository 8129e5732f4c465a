"""A store that this process owns: its operations, its fence, and taking it again."""

from typing import Final

from leveret_storage.errors import DataLost
from leveret_storage.media.postgres.appender import Appender
from leveret_storage.media.postgres.link import DatabaseError, Link
from leveret_storage.media.postgres.ownership import Fence, Ownership, new_token, take_again
from leveret_storage.media.postgres.schema import Schema

_UNDEFINED_TABLE: Final = "42P01"


class OwnedStore:
    """Operations of a store, under the fence of its owner's present connections."""

    def __init__(self, appender: Appender, owned: Ownership) -> None:
        self.appender: Final = appender
        self.owned: Final = owned

    @property
    def fence(self) -> Fence:
        return self.appender.fence

    def take_again(self, link: Link, schema: Schema) -> None:
        """On new connections: check that what was durable is there, and refuse the old ones.

        :raises LostEpoch: if the store has another owner.
        :raises DataLost: if something is missing.
        """
        old = self.fence
        fence = Fence(schema, old.store, self.owned.epoch, new_token(), old.durability)
        earlier = set(self.owned.tokens)
        self.owned.tokens.add(fence.token)
        take_again(link, fence, self.owned)
        self._check_rows(link, schema)
        self.owned.token = fence.token
        self.owned.tokens.difference_update(earlier)
        self.appender.set_fence(fence)

    def _check_rows(self, link: Link, schema: Schema) -> None:
        for table, start in list(self.appender.durable_rows.items()):
            try:
                found = link.execute(
                    f"select 1 from {schema.table(table)} where start = $1::bigint", (start,)
                )
            except DatabaseError as error:
                if error.state != _UNDEFINED_TABLE:
                    raise
                found = []
            if not found and table in self.appender.durable_rows:
                raise DataLost(
                    f"{schema.table(table)} has no row {start}, which was confirmed: a standby that"
                    " had not got it was promoted, or an older copy was restored"
                )
