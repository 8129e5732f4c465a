"""Regular expressions of operators, for names that clients choose (RabbitMQ: Access Control).

They are written for Erlang's `re`, with lookahead and the like, which no engine of linear time has.
So a match is bounded by time: a pattern that takes longer for a name does not match it.
"""

from typing import Final

import regex

from leveret.logging import get_logger

MATCH_TIMEOUT_S: Final = 0.005
"""Seconds for one match: a thousand times what a pattern without nested repetition takes for a name
of 255 bytes."""

TRIES: Final = 3
"""Matches that take too long in a row before a pattern counts as slow: one of them may be no fault
of the pattern, when the whole machine pauses in it."""

PATTERN_CHARACTERS_MAX: Final = 4096

logger = get_logger()


class PatternError(ValueError):
    """A text that is no regular expression; the message says why, in a few words."""


class Pattern:
    """A compiled pattern. It matches a name if it is found anywhere in it."""

    def __init__(self, text: str) -> None:
        """:raises PatternError: if the text is no regular expression, or too long."""
        if len(text) > PATTERN_CHARACTERS_MAX:
            raise PatternError(f"longer than {PATTERN_CHARACTERS_MAX} characters")
        self.text = text
        self.slow = False
        """Whether a match took too long `TRIES` times in a row."""
        try:
            self._compiled = regex.compile(text)
        except (regex.error, RecursionError, OverflowError) as error:
            raise PatternError(str(error)) from None

    def matches(self, name: str) -> bool:
        """Whether the pattern is found in a name within `MATCH_TIMEOUT_S`."""
        for _ in range(1 if self.slow else TRIES):
            try:
                return self._compiled.search(name, timeout=MATCH_TIMEOUT_S) is not None
            except TimeoutError:
                continue
        if not self.slow:
            self.slow = True
            logger.warning(
                "a regular expression takes too long, and does not match", pattern=self.text
            )
        return False


def permission_pattern(text: str) -> Pattern:
    """The pattern of a permission, where an empty one matches no name.

    :raises PatternError: as `Pattern`.
    """
    return Pattern(text or "^$")


def quote(text: str) -> str:
    """A pattern that matches this text only."""
    return str(regex.escape(text, special_only=True))
