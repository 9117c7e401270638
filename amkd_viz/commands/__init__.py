"""The commands of ``amkd-viz``, by subject. Each imports what it needs when it runs: ``--help`` answers at once."""
