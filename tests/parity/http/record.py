"""Play every section against a RabbitMQ of its own and write the recordings.

python -m tests.parity.http.record            record again
"""

import sys

from tests.parity.http.access import TABLE, table
from tests.parity.http.client import Api
from tests.parity.http.play import Play, write_recording
from tests.parity.http.sections import SECTIONS
from tests.parity.http.world import world
from tests.support.brokers import HOST, RabbitMQ, free_port, rabbitmq_available

PLUGINS = (
    "rabbitmq_management",
    "rabbitmq_federation_management",
    "rabbitmq_shovel_management",
)


def main() -> int:
    """Run the command; its exit code."""
    if not rabbitmq_available():
        print("rabbitmq-server is not installed", file=sys.stderr)
        return 2
    port = free_port()
    config = (
        f"management.tcp.port = {port}",
        f"management.tcp.ip = {HOST}",
        "collect_statistics_interval = 1000",
    )
    with RabbitMQ(*config, plugins=PLUGINS) as broker:
        TABLE.write_text(table(Play(Api(HOST, port), broker.port)), "utf-8")
    with RabbitMQ(*config, plugins=PLUGINS) as broker:
        play = Play(Api(HOST, port), broker.port)
        with world(play):
            for name, section in SECTIONS.items():
                play.entries.clear()
                section(play)
                write_recording(name, play.entries)
                print(f"{name}: {len(play.entries)} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
