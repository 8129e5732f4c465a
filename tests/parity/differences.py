"""Where Leveret answers otherwise than RabbitMQ, as docs/protocol.md shows it.

python -m tests.parity.differences           write it into the page

What is written comes from the scenarios that differ and from their recordings, and a test holds the
page to it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.parity.scenario import Scenario, all_scenarios, read_recordings
from tests.parity.transcript import received

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- differences: begin -->"
END = "<!-- differences: end -->"

_CLOSE = re.compile(
    r"(\S+) reply_code=(\d+) reply_text=(['\"])(.*)\3 class_id=(\d+) method_id=(\d+)"
)


def section() -> str:
    """The part of the page between its marks."""
    recordings = read_recordings()
    reasons: dict[str, list[Scenario]] = {}
    for one in all_scenarios():
        if one.differs:
            reasons.setdefault(one.differs, []).append(one)
    lines: list[str] = []
    for reason, scenarios in reasons.items():
        lines += ["", f"**{reason}**", ""]
        lines += ["| scenario | RabbitMQ 3.10.8 | Leveret |", "|---|---|---|"]
        for one in scenarios:
            theirs, ours = _answers(received(recordings[one.id]), one.leveret)
            lines.append(f"| {one.name.replace('_', ' ')} | {theirs} | {ours} |")
    return "\n".join([BEGIN, *lines, "", END])


def section_of(page: str) -> str:
    """What a page has between its marks, with them."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


def _answers(theirs: Sequence[str], ours: Sequence[str]) -> tuple[str, str]:
    """The first answers in which two transcripts differ."""
    same = 0
    while same < min(len(theirs), len(ours)) and theirs[same] == ours[same]:
        same += 1
    told = _told(theirs[same:]), _told(ours[same:])
    if told[0] == told[1]:
        return _told(theirs[same:], ids=True), _told(ours[same:], ids=True)
    return told


def _told(lines: Sequence[str], *, ids: bool = False) -> str:
    if not lines:
        return "nothing more"
    answer = lines[0].partition("< ")[2]
    if answer == "closed":
        return "drops the connection"
    close = _CLOSE.search(answer)
    if close is not None:
        text = close[4].replace("\\'", "'")
        about = f", class {close[5]} method {close[6]}" if ids else ""
        return f"`{close[1]}` {close[2]} `{text}`{about}"
    words = answer.split()
    return f"`{' '.join(words[1:3]) if words[1] == 'protocol' else words[1]}`"


def main() -> None:
    """Write the section into the page."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(page.replace(section_of(page), section()), "utf-8")


if __name__ == "__main__":
    main()
