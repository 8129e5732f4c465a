"""Which policies apply to a queue or an exchange."""
