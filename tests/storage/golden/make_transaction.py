"""Makes the golden log with a transaction of several parts, in a plain build:
`python -m tests.storage.golden.make_transaction`.

The parts are in several batches, and what another client publishes is between them. It is made anew
with a new version of the format only, as those that `make.py` makes.
"""

import os
import shutil
from pathlib import Path
from typing import Final, cast

from pamqp.commands import Basic, Tx

from leveret.compiled import build_kind
from leveret.datadir.head import encode_head_data
from leveret.protocol.channels import transaction_commit
from leveret_storage.media.filesystem import FilesystemMedium
from tests.protocol import wire
from tests.protocol.harness import Client
from tests.storage.faulty import FaultyMedium
from tests.unit.engine.queues.broker_run import BrokerRun

DIRECTORY: Final = Path(__file__).parent / "transaction"

TRANSACTION: Final = [b"%d" % number for number in range(60)]
"""The bodies of the messages of the transaction."""

OTHERS: Final = [b"other %d" % number for number in range(3)]
"""The bodies of the first messages that another client publishes meanwhile, one after each part."""

_PERSISTENT: Final = Basic.Properties(delivery_mode=2)
_SLICE_OCTETS: Final = 100_000


def main() -> None:
    if build_kind() != "plain Python":
        raise SystemExit("a plain build is needed")
    transaction_commit.__dict__["COMMITTED_AT_ONCE"] = 20
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    medium = FilesystemMedium(DIRECTORY)
    # Nothing here uses what only the faulty one has.
    run = BrokerRun(cast("FaultyMedium", medium))
    run.queue("q")
    run.queue("others")
    alice, bob = Client(run.broker), Client(run.broker)
    for client in (alice, bob):
        client.log_in()
        client.open_channels(1)
    alice.call(1, Tx.Select(), Tx.SelectOk)
    alice.publish(1, "q", *TRANSACTION, properties=_PERSISTENT)
    run.broker.time_slice.begin(0)
    more = alice.connection.feed(wire.method_frames(1, Tx.Commit()), _SLICE_OCTETS)
    others = iter(OTHERS)
    while more:
        body = next(others)
        bob.connection.feed(wire.publish(1, "others", body, properties=_PERSISTENT), _SLICE_OCTETS)
        run.broker.commit(urgent=True)
        run.writing.run()
        run.broker.time_slice.begin(0)
        more = alice.connection.work(_SLICE_OCTETS)
    run.broker.commit(urgent=True)
    run.writing.run()
    epoch, _ = medium.read_head()
    medium.write_head(epoch, epoch, encode_head_data("golden"))
    sizes = {name: medium.size(name) for name in medium.list()}
    medium.close()
    for name, size in sizes.items():
        # What was preallocated behind the end is of no interest.
        os.truncate(DIRECTORY / "blobs" / name, size)
    (DIRECTORY / "lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
