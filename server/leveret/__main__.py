"""`python -m leveret` is the `leveret` command."""

from leveret.cli import entry

if __name__ == "__main__":
    entry()
