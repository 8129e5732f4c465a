"""The scenarios, one module a section of the protocol."""
