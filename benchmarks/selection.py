"""The options of every benchmark that say which cases it takes."""

from __future__ import annotations

import argparse
import sys

from benchmarks import prepare


def add_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Let a command line choose cases; `what` it takes unless told otherwise."""
    parser.add_argument(
        "what", nargs="?", choices=("all", "networks", "layers"), default=what, help="of the cases"
    )
    parser.add_argument("--only", default="*", help="cases whose name fits this pattern")
    parser.add_argument("--tiny", action="store_true", help="the small variants of the networks")


def chosen(options: argparse.Namespace) -> list[str]:
    """Return the sources of the cases; exits where there are none."""
    found = prepare.sources(
        options.only,
        tiny=options.tiny,
        networks=options.what != "layers",
        layers=options.what != "networks",
    )
    if not found:
        sys.exit(f"nothing fits --only {options.only!r}")
    return found
