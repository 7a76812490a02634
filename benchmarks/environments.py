"""Sets up the environments of the peers: `python -m benchmarks.environments [PEER...]`.

Each peer that has packages of its own gets a virtual environment `build/peers/NAME`; one that is
already as its file says is left alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys

from benchmarks import peers
from benchmarks.peers.peer import Peer
from benchmarks.process import ENVIRONMENTS, interpreter

_STAMP = "packages.json"
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off")


def set_up(name: str) -> None:
    """Make a peer's environment; raises CalledProcessError where pip fails, its message printed."""
    peer = peers.load(name)
    folder = ENVIRONMENTS / name
    stamp, wanted = folder / _STAMP, _wanted(peer)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"setting up {folder}: {', '.join(peer.packages)}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(interpreter(name))
    subprocess.run([python, *_PIP, *peer.packages], check=True)
    if peer.bare_packages:
        subprocess.run([python, *_PIP, "--no-deps", *peer.bare_packages], check=True)
    stamp.write_text(wanted)


def is_set_up(name: str) -> bool:
    """Tell whether a peer can be started."""
    peer = peers.load(name)
    stamp = ENVIRONMENTS / name / _STAMP
    return not peer.packages or (stamp.is_file() and stamp.read_text() == _wanted(peer))


def _wanted(peer: Peer) -> str:
    return json.dumps([peer.packages, peer.bare_packages])


def main() -> None:
    """Set up the peers named, or all; exit with 1 where one could not be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.environments")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(peers.PEERS)}")
    wanted = parser.parse_args().peers
    if unknown := set(wanted) - set(peers.PEERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(peers.PEERS)}")
    failed = []
    for name in wanted or peers.PEERS:
        if not peers.load(name).packages:
            continue
        try:
            set_up(name)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {error}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
