"""Publishing and getting."""

from typing import Any

from tests.parity.http.play import Play

PUBLISH = "/exchanges/%2F/amq.default/publish"
GET = "/queues/%2F/spare/get"

MESSAGE: dict[str, Any] = {
    "properties": {},
    "routing_key": "spare",
    "payload": "text",
    "payload_encoding": "string",
}
GOT: dict[str, Any] = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}

PROPERTIES: dict[str, Any] = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"a": 1, "b": "text", "c": [1], "d": {"e": True}, "f": 1.5, "g": None},
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "60000",
    "message_id": "m",
    "timestamp": 1700000000,
    "type": "t",
    "user_id": "guest",
    "app_id": "a",
    "cluster_id": "x",
}


def play(play: Play) -> None:
    """Publish and get, rightly and wrongly."""
    play.quietly("DELETE", "/queues/%2F/spare/contents")
    for ackmode in ("ack_requeue_true", "reject_requeue_true", "ack_requeue_false"):
        play.ask("POST", PUBLISH, MESSAGE)
        play.ask("POST", GET, {**GOT, "ackmode": ackmode})
        play.quietly("DELETE", "/queues/%2F/spare/contents")
    play.ask("POST", GET, GOT)
    play.ask("POST", PUBLISH, {**MESSAGE, "properties": PROPERTIES})
    play.ask("POST", GET, {**GOT, "truncate": 2})
    play.ask("POST", PUBLISH, {**MESSAGE, "payload": "/wA=", "payload_encoding": "base64"})
    play.ask("POST", GET, GOT)
    play.ask("POST", PUBLISH, MESSAGE)
    play.ask("POST", GET, {**GOT, "encoding": "base64"})
    play.ask("POST", PUBLISH, {**MESSAGE, "routing_key": "none"})
    play.ask("POST", "/exchanges/%2F/events/publish", {**MESSAGE, "routing_key": "z"})
    play.ask("POST", PUBLISH, {**MESSAGE, "routing_key": "mine"})
    wrong: list[dict[str, Any]] = [
        {"payload": "!", "payload_encoding": "base64"},
        {"payload_encoding": "none"},
        {"payload": 1},
        {"routing_key": 1},
        {"properties": []},
        {"properties": {"delivery_mode": "2"}},
        {"properties": {"priority": "high"}},
        {"properties": {"expiration": "x"}},
        {"properties": {"unknown": 1}},
        {"properties": {"headers": []}},
        {"properties": {"user_id": "somebody"}},
    ]
    for changed in wrong:
        play.ask("POST", PUBLISH, {**MESSAGE, **changed})
    for missing in MESSAGE:
        given = {name: value for name, value in MESSAGE.items() if name != missing}
        play.ask("POST", PUBLISH, given)
    play.ask("POST", PUBLISH, raw="{")
    play.ask("POST", "/exchanges/%2F/none/publish", MESSAGE)
    play.ask("POST", "/exchanges/none/none/publish", MESSAGE)
    play.ask("GET", PUBLISH)
    play.quietly("DELETE", "/queues/%2F/spare/contents")
    for other in (
        {"count": 0},
        {"count": -1},
        {"count": "1"},
        {"count": "x"},
        {"ackmode": "none"},
        {"encoding": "none"},
        {"truncate": "x"},
    ):
        play.ask("POST", GET, {**GOT, **other})
    for missing in GOT:
        play.ask("POST", GET, {name: value for name, value in GOT.items() if name != missing})
    play.ask("POST", GET, raw="{")
    play.ask("POST", "/queues/%2F/none/get", GOT)
    play.ask("POST", "/queues/none/none/get", GOT)
    play.ask("POST", "/queues/%2F/mine/get", GOT)
    play.ask("GET", GET)
