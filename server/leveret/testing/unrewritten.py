"""Imports of the broker as Python does them, in a process that runs pytest.

pytest rewrites the assertions of all modules of a package that comes with a plugin, from their
source. For the broker that is of no use, and takes a second at each start where Python may not
write the result down, as in many containers. Importing this module prevents it, for what is
imported later.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

PACKAGES: Final = frozenset({"leveret", "leveret_storage"})

PYTESTS: Final = "_pytest.assertion.rewrite"
"""What pytest has imported before any plugin."""


class UnrewrittenImports:
    """Finds the modules of our packages before pytest does."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        return PathFinder.find_spec(name, path, target)


def import_unrewritten() -> None:
    """Have our modules imported as they are from here on."""
    if PYTESTS in sys.modules and UnrewrittenImports not in sys.meta_path:
        sys.meta_path.insert(0, UnrewrittenImports)


import_unrewritten()
