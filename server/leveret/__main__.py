"""`python -m leveret` is the `leveret` command."""

from leveret.cli import main

if __name__ == "__main__":
    main()
