"""Play every scenario against a RabbitMQ of its own and write the recordings.

python -m tests.parity.record            record again
python -m tests.parity.record --check    write nothing; fail if RabbitMQ answers otherwise now
python -m tests.parity.record access     record one section again
"""

import argparse
import difflib
import sys

from tests.parity.definitions import definitions_file
from tests.parity.scenario import all_scenarios, read_recordings, write_recordings
from tests.support.brokers import EXCHANGE_PLUGINS, RabbitMQ, rabbitmq_available


def main() -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.record", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("section", nargs="*", help="what to play; everything unless given")
    arguments = parser.parse_args()
    played = [one for one in all_scenarios() if one.section in (arguments.section or [one.section])]
    if not rabbitmq_available():
        print("rabbitmq-server is not installed", file=sys.stderr)
        return 2
    with definitions_file() as definitions:
        load = f"load_definitions = {definitions}"
        with RabbitMQ(load, plugins=EXCHANGE_PLUGINS) as broker:
            transcripts = {one.id: one.run(broker) for one in played}
    if arguments.check:
        return _compare(transcripts)
    others = {
        name: lines
        for name, lines in read_recordings().items()
        if name.partition(".")[0] in {one.section for one in all_scenarios()}
        and name.partition(".")[0] not in {one.section for one in played}
    }
    write_recordings(others | transcripts)
    print(f"recorded {len(transcripts)} scenarios")
    return 0


def _compare(transcripts: dict[str, list[str]]) -> int:
    sections = {name.partition(".")[0] for name in transcripts}
    recorded = {
        name: lines
        for name, lines in read_recordings().items()
        if name.partition(".")[0] in sections
    }
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
