"""Where messages go: bindings, and the exchange types that match them."""
