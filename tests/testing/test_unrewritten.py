"""Imports of the broker in a process that runs pytest."""

import json
import sys

from _pytest.assertion.rewrite import AssertionRewritingHook

import leveret
from leveret.testing.unrewritten import UnrewrittenImports, import_unrewritten


def test_pytest_is_not_asked_for_the_modules_of_the_broker() -> None:
    ours = sys.meta_path.index(UnrewrittenImports)
    theirs = [isinstance(each, AssertionRewritingHook) for each in sys.meta_path].index(True)
    assert ours < theirs
    found = UnrewrittenImports.find_spec("leveret.node", leveret.__path__)
    assert found is not None
    assert not isinstance(found.loader, AssertionRewritingHook)


def test_other_modules_are_the_matter_of_others() -> None:
    assert UnrewrittenImports.find_spec(json.__name__) is None
    assert UnrewrittenImports.find_spec("leverets") is None


def test_it_is_installed_once() -> None:
    import_unrewritten()
    assert sys.meta_path.count(UnrewrittenImports) == 1
