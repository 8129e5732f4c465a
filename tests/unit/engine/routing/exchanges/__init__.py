"""Unit tests of the exchange types, their bindings, and the tables they compare."""
