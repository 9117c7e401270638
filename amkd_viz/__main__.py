"""``python -m amkd_viz``."""

import sys

from amkd_viz.cli import main

if __name__ == "__main__":
    sys.exit(main())
