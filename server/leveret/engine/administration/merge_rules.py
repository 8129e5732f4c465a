"""How an import of definitions meets what exists, in words for operators."""

from typing import Final

MERGE_RULES: Final = (
    "users, virtual hosts, permissions, policies and parameters replace those of the same name;"
    " queues and exchanges that exist stay as they are; bindings are added; nothing is deleted"
)
