"""Counts what compiled networks and other runtimes execute on ARM, under qemu: no ARM needed."""
