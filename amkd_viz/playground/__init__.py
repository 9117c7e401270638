"""A page that trains in any browser: the library's own step, exported, in one HTML file without a server."""

from amkd_viz.playground.page import write_playground

__all__ = ["write_playground"]
