"""`python -m fuzz PART`: one part of `make fuzz`."""

from __future__ import annotations

import argparse
import sys

from fuzz import files, layers

# A part has add_arguments(parser) and main(options), which returns the exit code.
PARTS = {"layers": layers, "files": files}


def main() -> int:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, part in PARTS.items():
        part.add_arguments(parts.add_parser(name, help=part.__doc__))
    options = parser.parse_args()
    return PARTS[options.part].main(options)


if __name__ == "__main__":
    sys.exit(main())
