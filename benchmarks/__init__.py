"""Compares compiled networks and layers with other runtimes: `python -m benchmarks --help`."""
