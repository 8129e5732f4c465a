"""Decoding a definitions file in slices: msgspec decodes a whole one in one go, which takes a tenth
of a second and more for 64 MB, as each entry becomes several objects.

First the entries of all sections are only found, in one go, which takes half a millisecond for a
megabyte. Then they are decoded one by one.
"""

from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec

from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps

ROOT: Final = "`$"
"""What stands in the text of an error for the value that was decoded."""

_SECTIONS: Final = {
    field.name: msgspec.json.Decoder(get_args(field.type)[0])
    for field in msgspec.structs.fields(DefinitionsFile)
}
_FINDING: Final = msgspec.json.Decoder(
    msgspec.defstruct("_Found", [(name, list[msgspec.Raw], []) for name in _SECTIONS])
)


class DefinitionsDecoding(Work):
    """Decodes a file."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.file = DefinitionsFile()
        self.error = ""
        """Why it has ended before all was decoded."""
        self._steps = self._run(data)

    def run(self, time_slice: TimeSlice) -> bool:
        try:
            return run_steps(self._steps, time_slice)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.error = str(error)
            return True

    def _run(self, data: bytes | bytearray) -> Iterator[None]:
        found = msgspec.structs.asdict(_FINDING.decode(data))
        yield
        for section, decoder in _SECTIONS.items():
            entries: list[Any] = []
            setattr(self.file, section, entries)
            for at, raw in enumerate(found[section]):
                try:
                    entries.append(decoder.decode(raw))
                except msgspec.ValidationError as error:
                    text = _named(str(error), f"{ROOT}.{section}[{at}]")
                    raise msgspec.ValidationError(text) from None
                yield


def _named(error: str, place: str) -> str:
    """The text of an error of an entry, with the place of the entry."""
    return error.replace(ROOT, place, 1) if ROOT in error else f"{error} - at {place}`"
