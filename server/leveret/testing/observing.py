"""What the broker of a test observes of publishes: it records them, and refuses some, on request.

The router of the engine is asked for every message only as long as one of the two is wanted.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from leveret.engine.broker import Broker
from leveret.engine.routing.observer import Origin, PublishObserver
from leveret.engine.routing.sink import Sink
from leveret.engine.values.message import Message
from leveret.testing.errors import BrokerError
from leveret.testing.recorder import Recorded, Recorder

RefusePublish: TypeAlias = Callable[[str, str, tuple[str, ...]], bool]
"""Whether a message is refused, of an exchange, with a routing key, which would go to some
queues."""


NOT_RECORDED: Final = (
    "publishes are not recorded: call broker.record() before the application publishes, and again"
    " after a reset or a restart of the broker"
)


class NodeObserver(PublishObserver):
    """The observer of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._recorder: Recorder | None = None
        self._is_recording = False
        self._refuse: RefusePublish | None = None

    def record(self, messages_max: int, bytes_max: int) -> None:
        """Record publishes from now on, with the bounds of `Recorder`, and forget what was recorded
        before."""
        self._recorder = Recorder(messages_max, bytes_max)
        self._is_recording = True
        self._attach()

    def end_recording(self) -> None:
        """Record no further publishes."""
        self._is_recording = False
        self._attach()

    def recorder(self) -> Recorder:
        """What was recorded.

        :raises BrokerError: if recording was not asked for.
        """
        if self._recorder is None:
            raise BrokerError(NOT_RECORDED)
        return self._recorder

    def refuse(self, refuse: RefusePublish | None) -> None:
        """Ask about each publish from now on whether it is refused; None ends that."""
        self._refuse = refuse
        self._attach()

    def _attach(self) -> None:
        is_used = self._is_recording or self._refuse is not None
        self._broker.observe_publishes(self if is_used else None)

    def published(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
        origin: Origin,
    ) -> None:
        if self._is_recording and self._recorder is not None:
            self._recorder.add(Recorded(vhost, exchange, routing_keys, message, sinks, origin))

    def refused(self, message: Message) -> None:
        if self._recorder is not None:
            self._recorder.note_refused(message)

    def refuses(
        self,
        vhost: str,
        exchange: str,
        routing_keys: list[str],
        message: Message,
        sinks: list[Sink],
    ) -> bool:
        if self._refuse is None:
            return False
        queues = tuple(sink.name for sink in sinks if sink.name)
        if not self._refuse(exchange, routing_keys[0], queues):
            return False
        self.published(vhost, exchange, routing_keys, message, [], Origin.CLIENT)
        self.refused(message)
        return True
