"""``python -m divmon``."""

from divmon.cli import main

if __name__ == "__main__":
    main()
