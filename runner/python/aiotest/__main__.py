"""`python -m aiotest` is the command `aiotest`."""

import sys

from aiotest.cli import main

if __name__ == "__main__":
    sys.exit(main())
