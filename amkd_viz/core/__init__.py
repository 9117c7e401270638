"""The ground: errors, files, pauses and seeded random numbers. Imports nothing else of the package."""
