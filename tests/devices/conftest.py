"""Small executables that stand in for `ssh`, `adb` and an emulator: no board is needed or tested.

Each writes its arguments to a log and does here what the real one would do elsewhere.
"""

import stat
from pathlib import Path

import pytest

SSH = """#!/bin/sh
printf '%s\\n' "$@" >> "$FAKE_LOG"
if [ -n "$FAKE_REFUSE" ]; then echo "pi@board: Permission denied (publickey)." >&2; exit 255; fi
for script; do :; done
HOME="$FAKE_HOME" exec sh -c "$script"
"""

# /data/local/tmp is a folder of the test.
ADB = """#!/bin/sh
printf '%s\\n' "$@" >> "$FAKE_LOG"
if [ -n "$FAKE_REFUSE" ]; then echo "error: device 'abc' not found" >&2; exit 1; fi
if [ "$1" = -s ]; then shift 2; fi
command=$1; shift
there() { printf '%s' "$1" | sed "s#/data/local/tmp#$FAKE_ANDROID#g"; }
case $command in
shell) exec sh -c "$(there "$1")" ;;
push) exec cp -r "$1" "$(there "$2")/" ;;
pull)
    for folder; do :; done
    while [ $# -gt 1 ]; do cp "$(there "$1")" "$folder/" || exit 1; shift; done ;;
esac
"""

EMULATOR = """#!/bin/sh
printf '%s\\n' "$@" >> "$FAKE_LOG"
shift 2
exec "$@"
"""


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Put the stand-ins on PATH; returns the file that lists their arguments, one a line."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("ssh", SSH), ("adb", ADB), ("qemu-fake", EMULATOR)):
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    home = tmp_path / "board" / "a user's home"  # a blank and a quote: quoting has to be right
    android = tmp_path / "board" / "android"
    home.mkdir(parents=True)
    android.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_HOME", str(home))
    monkeypatch.setenv("FAKE_ANDROID", str(android))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "log").touch()
    return tmp_path / "log"
