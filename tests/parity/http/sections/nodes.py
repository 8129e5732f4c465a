"""The node."""

from urllib.parse import quote

from tests.parity.http.play import Play


def play(play: Play) -> None:
    """Read what there is of nodes."""
    play.ask("GET", "/nodes")
    play.ask("GET", "/nodes?columns=name,mem_used")
    play.ask("GET", "/nodes/none")
    node = quote(play.quietly("GET", "/overview").value["node"])
    play.ask("GET", f"/nodes/{node}", shown="/nodes/{node}")
    play.ask("GET", f"/nodes/{node}/memory", shown="/nodes/{node}/memory")
