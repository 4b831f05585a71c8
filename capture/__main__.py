"""``python -m capture`` is the ``capture`` command."""

from capture.cli.app import main

if __name__ == "__main__":
    main()
