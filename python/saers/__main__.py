"""``python -m saers`` is ``saers``."""

from saers.cli import main

if __name__ == "__main__":
    main()
