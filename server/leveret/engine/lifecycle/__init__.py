"""Declaring, binding and deleting in a virtual host, and every reason to refuse it."""
