"""``python -m unirl_repro``: the command line from a checkout, installed or not."""

from unirl_repro.cli import main

if __name__ == "__main__":
    main()
