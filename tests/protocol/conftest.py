"""Every test of the protocol plays on a broker of its own, which has to be left empty."""

from collections.abc import Iterator

import pytest

from tests.protocol.playbook import Client, Play


@pytest.fixture
def play() -> Iterator[Play]:
    play = Play()
    yield play
    play.ends()


@pytest.fixture
def alice(play: Play) -> Client:
    """A client with channel 1 open."""
    return play.opens(1)


@pytest.fixture
def bob(play: Play) -> Client:
    """Another client with channel 1 open."""
    return play.opens(1)
