"""Play every scenario against a RabbitMQ of its own and write the recordings.

python -m tests.parity.record            record again
python -m tests.parity.record --check    write nothing; fail if RabbitMQ answers otherwise now
"""

import argparse
import difflib
import sys

from tests.parity.scenario import all_scenarios, read_recordings, write_recordings
from tests.support.brokers import EXCHANGE_PLUGINS, RabbitMQ, rabbitmq_available


def main() -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.record", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    if not rabbitmq_available():
        print("rabbitmq-server is not installed", file=sys.stderr)
        return 2
    with RabbitMQ(plugins=EXCHANGE_PLUGINS) as broker:
        transcripts = {one.id: one.run(broker.host, broker.port) for one in all_scenarios()}
    if arguments.check:
        return _compare(transcripts)
    write_recordings(transcripts)
    print(f"recorded {len(transcripts)} scenarios")
    return 0


def _compare(transcripts: dict[str, list[str]]) -> int:
    recorded = read_recordings()
    differing = 0
    for name in sorted(transcripts.keys() | recorded.keys()):
        old, new = recorded.get(name, []), transcripts.get(name, [])
        if old != new:
            differing += 1
            print("\n".join(difflib.unified_diff(old, new, f"{name} recorded", "now", "", "", 9)))
    print(f"{differing} of {len(transcripts)} scenarios differ from their recordings")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
