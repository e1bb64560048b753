"""``python -m workers tick|switch|beat``; see ``programs``."""

import sys

from .programs import main

if __name__ == "__main__":
    sys.exit(main())
