"""The words of the code: what has a name in the field has no other one here.

docs/architecture.md has the vocabulary. A word is listed here once it has been replaced, so that it
does not come back: as part of a name, where each part counts that underscores or capitals separate,
as a whole name, where the word is an ordinary one otherwise, and in prose.
"""

import ast
import re
from collections.abc import Iterator

from tests.unit.source_tree import DOCUMENTS, EVERYTHING, ROOT, SOURCES, located, syntax_tree

CONFIGURATION = sorted(path for path in (ROOT / "conf").rglob("*") if path.is_file())

PARTS_OF_NAMES = {
    "doom": "condemned, to delete",
    "doomed": "condemned, to delete",
    "epitaph": "DeadLetterRewrite",
    "keeper": "definition_log",
    "lanes": "priority_backlog",
    "roomy": "preallocated",
    "ruled": "needs_checks",
    "sift": "release",
    "strand": "sorted_run",
    "strands": "sorted_runs",
    "tend": "enforce_limits",
    "withheld": "held_until",
    "withhold": "hold_until",
}
WHOLE_NAMES = {
    "HELD": "a publish outcome",
    "Home": "QueueHost",
    "Kept": "persistent",
    "NOWHERE": "NULL_HOST",
    "Stored": "StoredMessage",
    "Stretch": "a run, a range",
    "TAKEN": "a publish outcome",
    "Turn": "LoopScheduler",
    "Turns": "ConsumerSet",
    "kept": "persistent, persisted",
    "move_in": "attach",
    "move_out": "detach",
    "moving_in": "attach",
    "refers_back": "confirm_waits",
}
PROSE = {
    "epitaph": "the rewrite of a dead letter's headers",
    "lanes": "priorities",
    "strands": "sorted runs",
    "withheld": "held until the commit",
    "withholds": "holds until the commit",
    "about nothing": "refers to no record",
    "kept.py": "a file that was renamed",
    "salvaged.py": "a file that was renamed",
    "table_log.py": "a file that was renamed",
    "torn tail": "torn end",
    "what came of": "the result of",
}

PROSE_PATTERN = re.compile(rf"\b(?:{'|'.join(re.escape(word) for word in PROSE)})(?!\w)")


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every name that a module gives or uses."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "name", "arg", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield getattr(node, "lineno", 0), name


def is_replaced(name: str) -> bool:
    """Whether a name is, or has a part that is, one of the words that have been replaced."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")
    return name.lstrip("_") in WHOLE_NAMES or not PARTS_OF_NAMES.keys().isdisjoint(parts)


def test_replaced_words_are_in_no_name() -> None:
    wrong = [
        located(path, line, name)
        for path in EVERYTHING
        for line, name in names_in(syntax_tree(path))
        if is_replaced(name)
    ]
    assert sorted(set(wrong)) == []


def test_replaced_words_are_in_no_file_name() -> None:
    assert [str(path) for path in EVERYTHING if is_replaced(path.stem)] == []


def test_replaced_words_are_in_no_text() -> None:
    wrong = [
        located(path, number, found[0])
        for path in (*SOURCES, *DOCUMENTS, *CONFIGURATION)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for found in [PROSE_PATTERN.search(line.lower())]
        if found
    ]
    assert wrong == []


def test_a_replaced_word_is_found() -> None:
    assert is_replaced("kept")
    assert is_replaced("_kept")
    assert is_replaced("NOWHERE")
    assert is_replaced("OldestStrand")
    assert is_replaced("write_withheld_frames")
    assert not is_replaced("threshold")
    assert not is_replaced("held_until")
    assert not is_replaced("pretend")
    assert PROSE_PATTERN.search("the strands of a queue")
    assert not PROSE_PATTERN.search("`strand`, a kind in the first version of the format")
