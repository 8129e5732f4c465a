"""A primary whose disk is full on demand: a library in front of the C library (full_disk.c)."""

import subprocess
from pathlib import Path
from typing import Final

from tests.support.postgres import PostgresCluster, await_state

SOURCE: Final = Path(__file__).with_name("full_disk.c")


class FullDisk:
    """The primary's disk."""

    def __init__(self, cluster: PostgresCluster) -> None:
        """Start the primary again, with the library."""
        library, self._sign = cluster.directory / "full_disk.so", cluster.directory / "full"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", library, SOURCE],
            check=True,
        )
        primary = cluster.primary
        primary.stop()
        primary.environment = {"LD_PRELOAD": str(library), "FULL_DISK": str(self._sign)}
        primary.start()
        await_state(lambda: cluster.count_streaming() == 2, "both standbys follow")

    def fill(self) -> None:
        self._sign.touch()

    def make_room(self) -> None:
        self._sign.unlink()
