"""Declaring, binding and deleting."""

from urllib.parse import quote

from tests.parity.http.play import Play


def play(play: Play) -> None:
    """Make things, make them again, look at them, and delete them."""
    _queues(play)
    _exchanges(play)
    _bindings(play)
    _connections(play)


def _queues(play: Play) -> None:
    path = "/queues/%2F/new"
    play.ask("PUT", path, {"durable": True, "auto_delete": False, "arguments": {}})
    play.ask("PUT", path, {"durable": True, "auto_delete": False, "arguments": {}})
    play.ask("PUT", path, {})
    play.ask("GET", f"{path}/bindings")
    play.ask("DELETE", f"{path}/contents")
    play.ask("DELETE", f"{path}?if-empty=true&if-unused=true")
    play.ask("DELETE", path)
    play.ask("PUT", "/queues/%2F/with%20a%20%2F", {"auto_delete": True})
    play.ask("GET", "/queues/%2F/with%20a%20%2F?columns=name,auto_delete,durable")
    play.ask("DELETE", "/queues/%2F/with%20a%20%2F/")
    play.ask("PUT", "/queues/%2F/strings", {"durable": "true", "auto_delete": "true"})
    play.ask("DELETE", "/queues/%2F/strings")


def _exchanges(play: Play) -> None:
    path = "/exchanges/%2F/new"
    given = {"type": "topic", "durable": True, "internal": False, "auto_delete": False}
    play.ask("PUT", path, {**given, "arguments": {}})
    play.ask("PUT", path, {**given, "arguments": {}})
    play.ask("PUT", "/exchanges/%2F/new2", {"type": "headers", "durable": "false"})
    play.ask("DELETE", "/exchanges/%2F/new2")
    play.ask("DELETE", f"{path}?if-unused=true")
    play.ask("DELETE", path)


def _bindings(play: Play) -> None:
    path = "/bindings/%2F/e/amq.topic/q/spare"
    keys = ("", "plain", "a.b.#", "with space", "~", "a~b", "ü", "a/b", "100%")
    for key in keys:
        play.ask("POST", path, {"routing_key": key, "arguments": {}})
    play.ask("POST", path, {})
    play.ask("POST", path, {"routing_key": "plain"})
    play.ask("POST", path, {"routing_key": "plain", "arguments": {"x": 1}})
    found = play.quietly("GET", path).value
    for key in keys:
        here = [each for each in found if each["routing_key"] == key and not each["arguments"]]
        shown = f"{path}/{{{key}}}"
        name = quote(here[0]["properties_key"], safe="")
        play.ask("GET", f"{path}/{name}", shown=shown)
        play.ask("DELETE", f"{path}/{name}", shown=shown)
        play.ask("DELETE", f"{path}/{name}", shown=shown)
    hashed = next(each["properties_key"] for each in found if each["arguments"])
    play.ask("GET", f"{path}/{quote(hashed, safe='')}", shown=f"{path}/{{arguments}}")
    play.ask("DELETE", f"{path}/{quote(hashed, safe='')}", shown=f"{path}/{{arguments}}")
    play.ask("POST", "/bindings/%2F/e/amq.topic/e/amq.fanout", {"routing_key": "k"})
    play.ask("GET", "/bindings/%2F/e/amq.topic/e/amq.fanout/k")
    play.ask("DELETE", "/bindings/%2F/e/amq.topic/e/amq.fanout/k")


def _connections(play: Play) -> None:
    for headers in ({}, {"X-Reason": "for a test"}):
        with play.connection(name="closed"):
            play.quietly_until(
                "/connections",
                lambda found: any(each["user_provided_name"] == "closed" for each in found),
            )
            found = play.quietly("GET", "/connections").value
            name = next(each["name"] for each in found if each["user_provided_name"] == "closed")
            path = f"/connections/{quote(name, safe='')}"
            play.ask("DELETE", path, headers=headers, shown="/connections/{closed}")
            play.quietly_until(
                "/connections",
                lambda found: all(each["user_provided_name"] != "closed" for each in found),
            )
            play.ask("GET", path, shown="/connections/{closed}")
