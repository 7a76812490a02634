"""`python -m fuzz.file_worker KIND SEED END`: runs damaged files, one line for each outcome."""

import logging
import os
import pickle
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from random import Random

from payload import Bomb

from edgeconv.errors import EdgeconvError
from fuzz.file_kinds import KINDS, Options

MEMORY_BYTES = 12 << 30  # of the whole process, most of it libraries


def run_case(kind: str, whole: bytes, options: Options, seed: int) -> str:
    """Return "ok", the class of the refusal, or what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mark, path = folder / "mark", folder / "files" / f"net.{kind}"
        path.parent.mkdir()
        path.write_bytes(KINDS[kind].damage(whole, Random(seed), pickle.dumps(Bomb(mark), 2)))
        try:
            outcome = KINDS[kind].use(path, options) or "ok"
        except EdgeconvError as refusal:
            outcome = type(refusal).__name__
        except BaseException as error:
            outcome = f"FAILED: {type(error).__name__}: {str(error)[:300]!r}"
        left = {item.name for item in path.parent.iterdir()} - {path.name, path.stem}
        if mark.exists() or left:
            outcome = f"FAILED: code ran: {mark.exists()}, files left: {left}"
        return outcome


def main() -> None:
    """Run the cases that the command line names."""
    kind, first, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))
    # Libraries write to stdout; the outcomes go where it was.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"net.{kind}"
        options = KINDS[kind].write(path)
        whole = path.read_bytes()
        print("ready", file=report, flush=True)
        for seed in range(first, end):
            print("case", run_case(kind, whole, options, seed), file=report, flush=True)


if __name__ == "__main__":
    main()
