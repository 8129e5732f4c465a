"""A shop: orders come in, are shipped, and are billed."""
