"""Export and import of definitions."""

import json
from typing import Any
from urllib.parse import quote

from tests.parity.http.play import Play

FILE = {
    "vhosts": [{"name": "imported"}],
    "users": [{"name": "ivan", "password_hash": "", "tags": ""}],
    "permissions": [
        {"user": "ivan", "vhost": "imported", "configure": "", "write": "", "read": ".*"}
    ],
    "queues": [
        {"name": "iq", "vhost": "imported", "durable": True, "auto_delete": False, "arguments": {}}
    ],
}

WRONG: tuple[Any, ...] = (
    {"queues": [{"name": "iq", "vhost": "none", "durable": True, "auto_delete": False}]},
    {"users": [{"name": "ivan"}]},
    {"permissions": [{"user": "none", "vhost": "/", "configure": "", "write": "", "read": ""}]},
    {"policies": [{"vhost": "/", "name": "p", "pattern": "[", "definition": {"max-length": 1}}]},
    {"queues": 1},
    [],
)

BOUNDARY = "----parity"


def play(play: Play) -> None:
    """Import, as JSON and as pages upload it; and export."""
    play.ask("POST", "/definitions", FILE)
    play.ask("GET", "/definitions/imported")
    play.ask("GET", "/definitions?download=my.json")
    play.ask("GET", "/definitions/imported?download=my.json")
    for wrong in WRONG:
        play.ask("POST", "/definitions", wrong)
    play.ask("POST", "/definitions", raw="{")
    play.ask("POST", "/definitions", raw="")
    queue = {"name": "iq2", "durable": True, "auto_delete": False, "arguments": {}}
    play.ask("POST", "/definitions/imported", {"queues": [queue]})
    play.ask("POST", "/definitions/none", {"queues": [queue]})
    play.ask("POST", "/definitions/imported", FILE)
    for path in ("/definitions", "/definitions/imported"):
        for contents in (json.dumps({"queues": []}), "{"):
            _upload(play, path, contents)
    auth = quote("Z3Vlc3Q6Z3Vlc3Q=")
    play.ask("GET", f"/definitions?download=x.json&auth={auth}", user=None)
    play.ask("GET", "/definitions?auth=d3Jvbmc6d3Jvbmc=", user=None)
    play.ask("GET", f"/overview?auth={auth}", user=None)
    play.quietly("DELETE", "/vhosts/imported")
    play.quietly("DELETE", "/users/ivan")


def _upload(play: Play, path: str, contents: str) -> None:
    part = f'Content-Disposition: form-data; name="file"; filename="d.json"\r\n\r\n{contents}'
    raw = f"--{BOUNDARY}\r\n{part}\r\n--{BOUNDARY}--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    play.ask("POST", path, raw=raw, headers=kind)
