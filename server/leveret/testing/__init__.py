"""A broker inside a test suite: `with Broker() as broker:`, and the pytest plugin.

Importing this package imports no part of the broker: every run of pytest on a machine with Leveret
imports the plugin.
"""

from leveret.testing.broker import Broker
from leveret.testing.errors import BrokerError, UnmetExpectation

__all__ = ["Broker", "BrokerError", "UnmetExpectation"]
