"""What belongs to the whole broker: virtual hosts, users, permissions, policies, parameters."""
