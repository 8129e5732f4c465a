"""A broker inside a test suite: `with Broker() as broker:`, and the pytest plugin.

Importing this package imports no part of the broker: every run of pytest on a machine with Leveret
imports the plugin.
"""

from leveret.testing import unrewritten  # noqa: F401 - what is imported after it is not rewritten
from leveret.testing.broker import Broker
from leveret.testing.errors import BrokerError, UnmetExpectation
from leveret.testing.publishes import Publishes, RecordingDropped
from leveret.testing.queue_handle import Queue
from leveret.testing.values import (
    Binding,
    Connection,
    Consumer,
    Message,
    Properties,
    Published,
    QueueStatus,
)

__all__ = [
    "Binding",
    "Broker",
    "BrokerError",
    "Connection",
    "Consumer",
    "Message",
    "Properties",
    "Published",
    "Publishes",
    "Queue",
    "QueueStatus",
    "RecordingDropped",
    "UnmetExpectation",
]
