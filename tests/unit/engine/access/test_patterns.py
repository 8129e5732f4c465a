"""Patterns of operators: what they match, and that none takes long."""

import pytest

from leveret.engine.access.patterns import (
    PATTERN_CHARACTERS_MAX,
    TRIES,
    Pattern,
    PatternError,
    permission_pattern,
    quote,
)


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        (".*", ["", "a"], []),
        ("a", ["a", "cat"], ["", "b"]),
        ("^(?!amq\\.).*", ["a"], ["amq.a"]),
        ("^shop\\.", ["shop.a"], ["shops", "a.shop."]),
        ("(?i)^A$", ["a", "A"], ["b"]),
    ],
)
def test_a_pattern_is_found_anywhere_in_a_name(
    text: str, matching: list[str], others: list[str]
) -> None:
    pattern = Pattern(text)
    assert [name for name in [*matching, *others] if pattern.matches(name)] == matching


def test_an_empty_permission_matches_the_empty_name_only() -> None:
    assert not permission_pattern("").matches("a")


@pytest.mark.parametrize("text", ["(", "a{2,1}", "[", "*a", "(?P<a>b)(?P=c)"])
def test_a_text_that_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        Pattern(text)


def test_a_pattern_has_a_length() -> None:
    with pytest.raises(PatternError, match="longer than"):
        Pattern("a" * (PATTERN_CHARACTERS_MAX + 1))


@pytest.mark.parametrize("text", ["^(a|a)*$", "^(a*)*$", "^(a|aa)+$", "(x+x+)+y"])
def test_a_pattern_that_takes_too_long_does_not_match(text: str) -> None:
    """The last of each of these would take years; the test has a timeout."""
    pattern = Pattern(text)
    assert not pattern.matches("a" * 250 + "!")
    assert not pattern.matches("x" * 250)


class Pausing:
    """A compiled pattern in whose first matches the machine pauses."""

    def __init__(self, pauses: int) -> None:
        self.pauses = pauses
        self.tries = 0

    def search(self, name: str, timeout: float) -> object:
        self.tries += 1
        if self.tries <= self.pauses:
            raise TimeoutError
        return self


def test_a_pause_of_the_machine_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = Pattern("a")
    compiled = Pausing(pauses=TRIES - 1)
    monkeypatch.setattr(pattern, "_compiled", compiled)

    assert pattern.matches("a")
    assert compiled.tries == TRIES


def test_a_slow_pattern_is_tried_once_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = Pattern("a")
    compiled = Pausing(pauses=100)
    monkeypatch.setattr(pattern, "_compiled", compiled)

    assert not pattern.matches("a")
    assert compiled.tries == TRIES
    assert not pattern.matches("b")
    assert compiled.tries == TRIES + 1


def test_a_quoted_text_matches_itself_only() -> None:
    for text in ("a.b", "a|b", "{vhost}", "(", "^$", "\\"):
        pattern = Pattern(f"^{quote(text)}$")
        assert pattern.matches(text)
        assert not pattern.matches(f"{text}x")
        assert not pattern.matches("aXb")
