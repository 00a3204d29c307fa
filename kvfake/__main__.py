"""``python -m kvfake`` is the command ``kvfake``."""

import sys

from kvfake.cli import main

if __name__ == "__main__":
    sys.exit(main())
