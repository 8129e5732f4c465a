"""Importing definitions: a wrong entry is named and nothing is changed; work is done in slices."""

from typing import Any

import msgspec
import pytest

from leveret.config import Config
from leveret.engine.administration.definitions_export import DefinitionsExport
from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.administration.definitions_import import DefinitionsImport
from leveret.engine.administration.operator import Operator
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import VirtualHostEntity
from leveret.engine.metadata.metadata import Metadata
from leveret.engine.placement import Placement, ServedBy
from leveret.engine.values.time_slice import TimeSlice
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take

NO_TIME = 0
LONG_NS = 10**12

GOOD: dict[str, Any] = {
    "vhosts": [{"name": "shop", "default_queue_type": "undefined"}],
    "users": [{"name": "ann", "password": "pw", "tags": "monitoring"}],
    "permissions": [{"user": "ann", "vhost": "shop", "configure": "", "write": "", "read": ".*"}],
    "parameters": [
        {
            "vhost": "shop",
            "component": "operator_policy",
            "name": "bound",
            "value": {"pattern": "", "definition": {"max-length": 5}, "apply-to": "queues"},
        }
    ],
    "policies": [{"vhost": "shop", "name": "p", "pattern": "^q", "definition": {"expires": 10**6}}],
    "exchanges": [{"vhost": "shop", "name": "x", "type": "headers"}],
    "queues": [
        {"vhost": "shop", "name": "q", "arguments": {"x-queue-type": "quorum"}},
        {"vhost": "shop", "name": "amq.gen-given", "arguments": {"x-note": None}},
    ],
    "bindings": [
        {"vhost": "shop", "source": "x", "destination": "q", "arguments": {"x-match": "any"}},
        {
            "vhost": "shop",
            "source": "amq.topic",
            "destination": "x",
            "destination_type": "exchange",
        },
        {"vhost": "shop", "source": "", "destination": "q", "routing_key": "q"},
    ],
}


def imported(broker: Broker, file: dict[str, Any], slice_ns: int = LONG_NS) -> tuple[str, int]:
    """Why an import was refused, or ""; and the number of slices that it took."""
    operator = Operator(broker.metadata, "ann", "here")
    work = DefinitionsImport(broker, operator, msgspec.convert(file, DefinitionsFile))
    slices, done = 0, False
    while not done:
        broker.time_slice.begin(slice_ns)
        done = work.run(broker.time_slice)
        slices += 1
    broker.work.run_all(broker.time_slice)
    return ("" if work.error is None else str(work.error)), slices


class Apart(Placement):
    """The virtual host `/` is in the store 0, and all others are in the store 1."""

    def store_of(self, vhost: str) -> int:
        return int(vhost != "/")

    def served_by(self, vhost: str) -> ServedBy | None:
        raise NotImplementedError


def member(number: int) -> Broker:
    """A broker of a cluster that has one of the stores."""
    metadata = Metadata()
    metadata.stores = 2
    metadata.put(VirtualHostEntity("/"))
    broker = Broker(Config(), metadata)
    broker.placement = Apart()
    medium = FaultyMedium(number)
    take(medium)
    hosted = broker.open_store(
        medium, InlineExecutor(), InlineExecutor(), failed, vhosts=(), number=number
    )
    broker.match_metadata(hosted)
    return broker


def failed(error: StorageError) -> None:
    raise error


def exported(broker: Broker) -> dict[str, Any]:
    export = DefinitionsExport(broker)
    time_slice = TimeSlice()
    time_slice.begin(LONG_NS)
    assert export.run(time_slice)
    return export.entries


def test_what_was_imported_is_exported() -> None:
    broker = Broker(Config())
    assert imported(broker, GOOD) == ("", 1)

    found = exported(broker)
    assert [each["name"] for each in found["queues"]] == ["q", "amq.gen-given"]
    assert sorted(each["destination"] for each in found["bindings"]) == ["q", "x"]
    assert broker.vhosts["shop"].queues["q"].settings.max_length == 5
    other = Broker(Config())
    assert imported(other, found) == ("", 1)
    assert exported(other) == found
    assert imported(broker, found) == ("", 1)
    assert exported(broker) == found


LONG_NAME = "n" * 256

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("users", {"name": "bob", "password_hash": "!"}, "users[1] ('bob')"),
    ("users", {"name": "bob", "password_env": "NO_SUCH"}, "NO_SUCH of password_env is not set"),
    ("users", {"name": "bob", "password_file": "/no"}, "/no of password_file: "),
    ("permissions", {"user": "eve", "vhost": "/", "configure": "", "write": "", "read": ""}, "eve"),
    ("parameters", {"vhost": "/", "component": "vhost-limits", "name": "l", "value": 1}, "[1]"),
    ("policies", {"vhost": "/", "name": "w", "pattern": "(", "definition": {}}, "policies[1] ('w'"),
    ("policies", {"vhost": "/", "name": "w", "pattern": "", "definition": {"expires": 0}}, "'w'"),
    ("exchanges", {"vhost": "no", "name": "y"}, "exchanges[1] ('y'): virtual host 'no' does not"),
    ("exchanges", {"vhost": "/", "name": "y", "type": "odd"}, "unknown exchange type 'odd'"),
    ("exchanges", {"vhost": "/", "name": "amq.y"}, "reserved prefix"),
    ("exchanges", {"vhost": "/", "name": LONG_NAME}, "255 bytes"),
    ("exchanges", {"vhost": "/", "name": ""}, "not permitted on the default exchange"),
    ("exchanges", {"vhost": "/", "name": "y", "type": "x-delayed-message"}, "x-delayed-type"),
    ("queues", {"vhost": "/", "name": ""}, "must not be empty"),
    ("queues", {"vhost": "/", "name": LONG_NAME}, "255 bytes"),
    ("queues", {"vhost": "/", "name": "w", "arguments": {"x-expires": 0}}, "queues[2] ('w')"),
    ("queues", {"vhost": "/", "name": "w", "arguments": {"x-n": 2**63}}, "more than 64 bits"),
    (
        "queues",
        {"vhost": "/", "name": "w", "durable": False, "arguments": {"x-queue-type": "quorum"}},
        "invalid property 'non-durable'",
    ),
    ("bindings", {"vhost": "shop", "source": "y", "destination": "q"}, "no exchange 'y'"),
    ("bindings", {"vhost": "/", "source": "x", "destination": "q"}, "no exchange 'x'"),
    ("bindings", {"vhost": "shop", "source": "x", "destination": "r"}, "no queue 'r'"),
    (
        "bindings",
        {"vhost": "shop", "source": "x", "destination": "r", "destination_type": "exchange"},
        "no exchange 'r'",
    ),
    (
        "bindings",
        {"vhost": "shop", "source": "x", "destination": "q", "destination_type": "topic"},
        "destination_type cannot be 'topic'",
    ),
    (
        "bindings",
        {"vhost": "shop", "source": "x", "destination": "q", "arguments": {"x-match": "odd"}},
        "bindings[3]",
    ),
    (
        "bindings",
        {"vhost": "shop", "source": "x", "destination": "q", "routing_key": LONG_NAME},
        "255 bytes",
    ),
]


@pytest.mark.parametrize(("section", "entry", "named"), WRONG)
def test_a_wrong_entry_is_named_and_nothing_is_changed(
    section: str, entry: dict[str, Any], named: str
) -> None:
    broker = Broker(Config())
    version, before = broker.metadata.version, exported(broker)

    refused, _ = imported(broker, {**GOOD, section: [*GOOD[section], entry]})

    assert named in refused
    assert refused.startswith(f"{section}[{len(GOOD[section])}]")
    assert (broker.metadata.version, exported(broker)) == (version, before)


def test_a_limit_of_queues_that_the_file_exceeds_is_found_before_anything_is_changed() -> None:
    limits = {
        "vhost": "shop",
        "component": "vhost-limits",
        "name": "limits",
        "value": {"max-queues": 1},
    }
    broker = Broker(Config())
    before = exported(broker)
    refused, _ = imported(broker, {**GOOD, "parameters": [*GOOD["parameters"], limits]})
    assert refused == (
        "queues[1] ('amq.gen-given'): the limit of queues in virtual host 'shop' (1) is reached"
    )
    assert exported(broker) == before


def test_it_goes_on_in_the_next_slice_after_each_entry() -> None:
    names = [f"q{number}" for number in range(100)]
    file = {
        "queues": [{"vhost": "/", "name": name} for name in names],
        "bindings": [
            {"vhost": "/", "source": "amq.direct", "destination": name, "routing_key": "k"}
            for name in names
        ],
    }
    broker = Broker(Config())
    refused, slices = imported(broker, file, slice_ns=NO_TIME)
    assert refused == ""
    assert slices >= 2 * 200
    assert len(broker.vhosts["/"].queues) == 100


def test_what_belongs_to_another_broker_is_refused_before_anything_is_changed() -> None:
    broker = member(0)
    before = exported(broker)
    refused, _ = imported(broker, GOOD)
    assert refused == (
        "exchanges, queues and bindings of virtual hosts that other brokers serve: 'shop'"
    )
    assert exported(broker) == before


def test_what_belongs_to_another_broker_is_passed_on() -> None:
    broker, other = member(0), member(1)
    operator = Operator(broker.metadata, "ann", "here")
    passed_on: dict[str, DefinitionsFile] = {}
    own = [{"vhost": "/", "name": "mine"}]
    file = msgspec.convert({**GOOD, "queues": [*GOOD["queues"], *own]}, DefinitionsFile)
    work = DefinitionsImport(broker, operator, file, pass_on=passed_on.__setitem__)
    broker.time_slice.begin(LONG_NS)
    assert work.run(broker.time_slice)
    assert work.error is None
    assert set(broker.vhosts["/"].queues) == {"mine"}
    assert "shop" not in broker.vhosts

    for record in broker.metadata.records():
        other.metadata.apply(record)
    (part,) = passed_on.values()
    work = DefinitionsImport(other, Operator(other.metadata, "", ""), part)
    other.time_slice.begin(LONG_NS)
    assert work.run(other.time_slice)
    assert work.error is None
    assert set(other.vhosts["shop"].queues) == {"q", "amq.gen-given"}
    assert len(exported(other)["bindings"]) == 2


def test_a_store_counts_where_a_virtual_host_is_created_in_a_cluster() -> None:
    file = {"vhosts": [{"name": "pinned", "store": 1}]}
    broker, alone = member(1), Broker(Config())
    for each in broker, alone:
        assert imported(each, file) == ("", 1)
    assert "pinned" in broker.vhosts
    assert {"name": "pinned", "store": 1}.items() <= exported(broker)["vhosts"][-1].items()
    assert "store" not in exported(alone)["vhosts"][-1]
    assert imported(broker, {"vhosts": [{"name": "pinned", "store": 0}]}) == ("", 1)
    refused, _ = imported(broker, {"vhosts": [{"name": "other", "store": 2}]})
    assert refused == "vhosts[0] ('other'): there is no store 2: the cluster has 2, from 0 on"
