"""Every view on one page, to be looked at in light and dark.

    python -m benchmarks.gallery OUT.html

The page needs no download; ``python -m amkd_viz.views.gallery_page`` is the same command.
"""

from __future__ import annotations

import sys

from amkd_viz.views.gallery_page import gallery_page

if __name__ == "__main__":
    print(gallery_page(sys.argv[1] if len(sys.argv) > 1 else "gallery.html"))
