"""`rabbitmqctl` and `rabbitmq-diagnostics`: what scripts call, by RabbitMQ's names.

Thin: each command is a request or two of the HTTP API over the control socket. Options, outputs and
exit codes are those of RabbitMQ 3.10 (rabbitmqctl(8), rabbitmq-diagnostics(8)). The commands are in
`commands/rabbitmq`.
"""

import sys
from pathlib import Path
from typing import Final

from leveret.commands.rabbitmq import access, cluster, lists, node, objects
from leveret.commands.rabbitmq.session import group

SUBJECTS: Final = (node, cluster, access, objects, lists)
"""The modules whose commands the group has."""

__all__ = ["group", "main"]


def main() -> None:
    """The entry point, under either name."""
    group(prog_name=Path(sys.argv[0]).name)
