"""Paths and files that are not what they should be: one message, a documented exit code."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samples import case, make_artifact

from edgeconv.artifact import Artifact, Memory
from edgeconv.cli.memory import model_shortage
from edgeconv.errors import UsageError
from edgeconv.files import write_atomic
from edgeconv.inspection import Layer
from edgeconv.target import load_target

TINY = "zoo:resnet18/tiny"
EDGECONV = str(Path(sys.executable).parent / "edgeconv")


PLACES = ("net.onnx", "net.edge", "./board.toml", "in.npz")


def make(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "missing"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["inspect", "net.onnx"], 3),
        (["inspect", "net.edge"], 2),
        (["compile", TINY, "--target", "./board.toml"], 2),
        (["run", "sample.edge", "--inputs", "in.npz", "--outputs", "out.npz"], 2),
    ],
)
def test_what_is_no_file_is_refused_at_once(cli, tmp_path, kind, command, code):
    name = next(word for word in reversed(command) if word in PLACES)
    make_artifact().save(tmp_path / "sample.edge")
    make(tmp_path / name, kind)
    message = cli(*command, code=code).stderr
    assert name.removeprefix("./") in message


@pytest.mark.parametrize(("ending", "code"), [(".onnx", 3), (".edge", 2)])
@pytest.mark.parametrize("stem", ["a" * 300, "bad\udcff\udcfe", "new\nline"])
def test_odd_names(cli, stem, ending, code):
    cli("inspect", stem + ending, code=code)


def test_outputs_never_replace_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match="not a regular file"):
            write_atomic(tmp_path / name, b"data")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_full_disk_leaves_nothing(tmp_path):
    """The limit on a file's size fails writes as a full disk does."""
    (tmp_path / "old").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UsageError, match="old: cannot write"):
            write_atomic(tmp_path / "old", bytes(5000))
        with pytest.raises(UsageError, match=r"net\.edge: cannot write"):
            make_artifact().save(tmp_path / "net.edge")
        with pytest.raises(UsageError, match="cannot"):
            make_artifact().unpack(tmp_path / "unpacked")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_full_disk_under_stdout_is_one_message():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [EDGECONV, "targets", "--json"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


# A shell's background jobs, which tests may be, ignore Ctrl-C.
LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgeconv.cli.app import main
main()
"""


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_an_ended_compilation_leaves_nothing(tmp_path, number, code, says):
    scratch = tmp_path / "scratch"
    folder = tmp_path / "work"
    scratch.mkdir()
    folder.mkdir()
    variables = {"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENING, "compile", TINY, "--target", "host", "--verbose"],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("kernels"):
            break
    time.sleep(0.2)
    process.send_signal(number)
    _, message = process.communicate(timeout=60)
    assert process.returncode == code, message
    assert says in message
    assert list(folder.iterdir()) == []
    # Other libraries keep files of their own there.
    assert [path.name for path in scratch.iterdir() if path.name.startswith(("tmp", "edge"))] == []
    assert list((tmp_path / "cache" / "edgeconv").rglob(".*")) == []


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_counts_whatever_a_library_makes_of_it(number, code, says):
    program = f"""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgeconv.cli import app

def command():
    try:
        os.kill(os.getpid(), {int(number)})
    except BaseException:
        raise RuntimeError from None

app.app.command("ended")(app._guarded(command))
app.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, "ended"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "internal" not in ended.stderr


def as_a_user(*command: object) -> "subprocess.CompletedProcess[str]":
    """Run without root's right to write where permissions forbid it."""
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    words = [*plain, *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("writing", ["run", "compile", "python"])
def test_a_read_only_folder_stays_as_it_is(tmp_path, writing):
    folder = tmp_path / "kept"
    folder.mkdir()
    net, inputs = folder / "net.edge", tmp_path / "in.npz"
    make_artifact().save(net)
    np.savez(inputs, x=case(0))
    before = net.read_bytes()
    folder.chmod(0o555)
    unpack = "import sys; from edgeconv.artifact import Artifact; a = Artifact.load(sys.argv[1])"
    commands = {
        "run": [EDGECONV, "run", net, "--inputs", inputs, "--outputs", folder / "out.npz"],
        "compile": [EDGECONV, "compile", TINY, "--target", "host", "-o", net],
        "python": [sys.executable, "-c", f"{unpack}; a.unpack(sys.argv[1][:-5])", net],
    }
    done = as_a_user(*commands[writing])
    assert "kept" in done.stderr
    assert "cannot" in done.stderr
    if writing != "python":
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["net.edge"]
    assert net.read_bytes() == before


def test_an_output_below_a_file_is_refused_before_compiling(cli, tmp_path):
    (tmp_path / "file").touch()
    message = cli("compile", TINY, "--target", "host", "-o", "file/x/net.edge", code=2).stderr
    assert "is not a folder" in message


def small(artifact: Artifact, memory_mib: int) -> Artifact:
    """The artifact for a board with that much memory, of a network that needs 1000 MiB."""
    manifest = artifact.manifest
    target = replace(manifest.target, cpu=replace(manifest.target.cpu, memory_mib=memory_mib))
    memory = Memory(4, 800 << 20, 800 << 20, 200 << 20)
    return replace(artifact, manifest=replace(manifest, target=target, memory=memory))


def test_too_little_memory_is_warned_of_with_numbers(cli, cli_json, monkeypatch):
    artifact = small(make_artifact(), 1024)
    monkeypatch.setattr("edgeconv.api.compile", lambda model, **options: artifact)
    arguments = ("compile", TINY, "--target", "host", "--no-verify", "-o", "net.edge")
    warning = cli(*arguments, "--quiet").stderr
    for part in ("sample needs 1000.0 MiB", "arena 800.0 MiB", "scratch 200.0 MiB", "1.0 GiB"):
        assert part in warning
    assert "sample needs" in cli_json(*arguments)["memory_warning"]
    roomy = small(make_artifact(), 4096)
    monkeypatch.setattr("edgeconv.api.compile", lambda model, **options: roomy)
    assert cli_json(*arguments)["memory_warning"] is None


def test_a_model_that_no_compilation_can_make_fit():
    board = load_target("rasp2")
    sizes = ((1, 64, 1024, 1024),)
    large = Layer("conv", "Conv", "dense", sizes, sizes, 0, 200 << 20, 256 << 20)
    assert model_shortage("net", [replace(large, parameters=10)], board) is None
    warning = model_shortage("net", [large], board)
    assert "net needs 1.3 GiB to run (weights 800.0 MiB, largest layer 512.0 MiB)" in warning
    assert "rasp2 has 1.0 GiB" in warning
