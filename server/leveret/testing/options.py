"""How a broker of a test is started."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """What a broker of a test is started with."""

    host: str
    """The address that it listens on."""
    port: int
    """The port that is reserved for it."""
    directory: str | None
    """The directory of its data; None to keep everything in memory."""
    management: int | None
    """The port of the HTTP API; None for none."""
    skipped_ms: int
    """Milliseconds that its clock is ahead of the machine's."""
    log_level: str
    settings: Mapping[str, object] = field(default_factory=dict)
    """Configuration keys and their values."""
