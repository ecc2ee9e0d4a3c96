"""`python -m glidemq_console` is the `glidemq` command."""

import sys

from glidemq_console.cli import main

if __name__ == "__main__":
    sys.exit(main())
