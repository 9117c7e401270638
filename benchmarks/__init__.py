"""Measurements, kept apart from the library. Each module is one command: ``python -m benchmarks.NAME --help``."""
