"""``python -m edgekd``, as torchrun starts it."""

from edgekd.cli.main import main

if __name__ == "__main__":
    main()
