"""The HTTP API of a cluster: brokers that ask each other in one process."""
