"""Every transport does the same work; ssh, adb and the emulator are stand-ins (see conftest)."""

import dataclasses
import io
import math
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import samples

from edgeconv.artifact import Artifact
from edgeconv.devices import open_device, open_session
from edgeconv.errors import ArtifactError, DeviceError, UsageError
from edgeconv.target import Emulator, load_target

DEVICES = ["local", "emulator", "ssh://pi@board:2222", "adb", "adb:abc"]

pytestmark = pytest.mark.usefixtures("log")


def emulated_target():
    return dataclasses.replace(load_target("rasp4"), emulator=Emulator("qemu-fake", "cortex-a72"))


def artifact(**options) -> Artifact:
    return samples.make_artifact(target=emulated_target(), **options)


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_runs_tests_times_and_dumps(device):
    session = open_session(artifact(), device)
    x = samples.case(7)
    got = session.run({"x": x})
    for name, want in samples.outputs_of(x).items():
        np.testing.assert_array_equal(got[name], want)
        assert got[name].dtype == want.dtype
    assert session.self_test().passed
    assert math.isinf(session.self_test().cases[1].outputs[0].sqnr_db)
    report = session.bench(threads=2, warmup=1, repeat=4)
    assert (report.threads, len(report.runs_ms), report.steps) == (2, 4, ())
    profile = session.profile(repeat=3)
    assert [(s.name, len(s.ms)) for s in profile.steps] == [("double", 3), ("relu", 3)]
    values = session.step_values({"x": x})
    assert set(values) == {(0, 0), (1, 0)}
    assert values[0, 0].shape == (1, 1, 2, 2, 4)
    np.testing.assert_array_equal(values[1, 0], samples.outputs_of(x)["y"])


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_left_of_a_run(device, tmp_path):
    board = tmp_path / "board"
    session = open_session(artifact(), device)
    session.run({"x": samples.case(0)})
    left = {p.name for p in board.rglob("*.bin")} - {"weights.bin"}
    assert left <= {f"{side}_{i}.bin" for side in ("input", "output") for i in (0, 1)}
    assert not list(board.rglob("edgeconv-*"))


@pytest.mark.parametrize("device", ["ssh://pi@board", "adb"])
def test_files_are_sent_once_and_again_when_changed(device, tmp_path, log):
    sample = artifact()
    open_session(sample, device).self_test()
    (weights,) = (tmp_path / "board").rglob("weights.bin")
    log.write_text("")
    open_session(sample, device).self_test()
    assert not re.search(r"^(push|tar .* -xf)", log.read_text(), re.M)
    weights.write_bytes(b"damaged")
    open_session(sample, device).self_test()
    assert weights.read_bytes() == sample.entries["weights.bin"]


def test_default_is_this_machine_where_it_runs_the_target(monkeypatch):
    target = emulated_target()
    assert open_device(None, dataclasses.replace(target, native=True)).name == "local"
    emulator = open_device(None, target)
    assert emulator.emulated
    assert emulator.description == "qemu-fake -cpu cortex-a72 (emulated)"


def test_the_commands_are_those_of_the_tools(log):
    open_session(artifact(), "ssh://pi@board:2222").self_test()
    options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-p", "2222", "--", "pi@board"]
    assert log.read_text().splitlines()[:8] == options
    log.write_text("")
    open_session(artifact(), "adb:abc").self_test()
    assert log.read_text().splitlines()[:3] == ["-s", "abc", "shell"]
    log.write_text("")
    open_session(artifact(), "emulator").self_test()
    lines = log.read_text().splitlines()
    assert lines[:2] == ["-cpu", "cortex-a72"]
    assert lines[2].endswith("/runner")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "input 'x' is missing; the model takes 'x' float32 [1, 3, 2, 2]"),
        ({"x": samples.case(0), "w": samples.case(0)}, "no input 'w'"),
        ({"x": samples.case(0).astype("float64")}, "found float64 [1, 3, 2, 2]"),
        ({"x": samples.case(0)[0]}, "found float32 [3, 2, 2]"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_sent(inputs, says, log):
    session = open_session(artifact(), "ssh://pi@board")
    for method in (session.run, session.step_values):
        with pytest.raises(UsageError, match=re.escape(says)):
            method(inputs)
    assert log.read_text() == ""


@pytest.mark.parametrize("device", ["local", "emulator", "ssh://pi@board", "adb"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("load", "could not load the model): weights.bin: the SHA-256 is wrong"),
        ("illegal", "SIGILL: the processor lacks an instruction of target 'rasp4' (cortex-a72)"),
        ("garbage", "wrote no report"),
    ],
)
def test_a_failing_runner_is_explained(device, fault, says):
    session = open_session(artifact(fault=fault), device)
    with pytest.raises(DeviceError, match=re.escape(says)) as caught:
        session.run({"x": samples.case(0)})
    assert device in str(caught.value)
    assert "/runner" in str(caught.value)


@pytest.mark.parametrize("device", ["local", "ssh://pi@board"])
def test_a_hanging_runner_is_stopped(device):
    hanging = open_device(device, emulated_target())
    with pytest.raises(DeviceError, match=r"did not end in 0\.2 seconds"):
        hanging.execute(["/bin/sleep", "5"], timeout_s=0.2)


def test_a_failed_self_test_is_a_result_and_no_error():
    report = open_session(artifact(fault="wrong"), "local").self_test()
    assert not report.passed
    assert report.cases[0].outputs[0].max_rel == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("ssh://pi@board", r"Permission denied.*Does `ssh pi@board true` work"),
        ("adb:abc", r"device 'abc' not found.*adb devices"),
    ],
)
def test_a_board_that_cannot_be_reached(device, says, monkeypatch):
    monkeypatch.setenv("FAKE_REFUSE", "1")
    with pytest.raises(DeviceError, match=says):
        open_session(artifact(), device).self_test()


@pytest.mark.parametrize(("device", "package"), [("ssh://b", "openssh-client"), ("adb", "adb")])
def test_a_missing_tool_says_what_to_install(device, package, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=f"apt-get install {package}"):
        open_session(artifact(), device).self_test()


def test_a_missing_emulator(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt-get install qemu-user"):
        open_device("emulator", emulated_target())
    with pytest.raises(UsageError, match="names no emulator"):
        open_device("emulator", dataclasses.replace(emulated_target(), emulator=None))


def test_a_program_of_another_processor(tmp_path):
    elf = b"\x7fELF" + bytes(100)
    with pytest.raises(DeviceError, match=r"Exec format error.*--device emulator"):
        open_session(artifact(runner=elf), "local").self_test()


def test_an_artifact_without_a_runner(tmp_path):
    sample = artifact()
    entries = {name: data for name, data in sample.entries.items() if name != "runner"}
    library = Artifact.assemble(
        plan=sample.plan,
        entries=entries,
        model=sample.manifest.model,
        target=sample.manifest.target,
        tools={},
        golden=sample.manifest.golden,
        emit="lib",
    )
    with pytest.raises(ArtifactError, match=r"emit 'lib'.*--emit bundle"):
        open_session(library, "local")


@pytest.mark.parametrize(
    "spec", ["", "remote", "ssh://", "ssh://-oProxyCommand=x", "ssh://a:99999", "adb:", "ssh://b/x"]
)
def test_unknown_devices(spec):
    with pytest.raises(UsageError, match="expected"):
        open_device(spec, emulated_target())


def test_senseless_numbers():
    session = open_session(artifact(), "local")
    for options in ({"threads": 0}, {"warmup": -1}, {"repeat": 0}):
        with pytest.raises(UsageError, match="expected"):
            session.bench(**options)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **headers: str):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, link, headers
    return info


def answer(tmp_path: Path, members, mode: str = "w", data: bytes = b"1\n0\n5\nsome") -> None:
    """Make a `tar` for the board that sends these members, whatever it is asked for."""
    stream = tmp_path / "stream"
    with tarfile.open(stream, mode, format=tarfile.PAX_FORMAT) as archive:
        for info in members:
            info.size = 512 if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data.ljust(512, b"\0")))
    program = tmp_path / "bin" / "tar"
    program.write_text(f"#!/bin/sh\nexec cat '{stream}'\n")
    program.chmod(0o755)


SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "y.bin",
    "GNU.sparse.realsize": str(1 << 40),
}
STREAMS = {
    "symbolic link": [member("y.bin", tarfile.SYMTYPE, "/etc/passwd")],
    "link to itself": [member("y.bin", tarfile.SYMTYPE, "y.bin")],
    "hard link": [member("z.bin"), member("y.bin", tarfile.LNKTYPE, "z.bin")],
    "device": [member("y.bin", tarfile.CHRTYPE)],
    "pipe": [member("y.bin", tarfile.FIFOTYPE)],
    "folder": [member("y.bin", tarfile.DIRTYPE)],
    "sparse": [member("y.bin", **SPARSE)],
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_boards_answer_is_a_plain_file_or_refused(kind, tmp_path):
    answer(tmp_path, STREAMS[kind])
    (tmp_path / "here").mkdir()
    board = open_device("ssh://board", emulated_target())
    with pytest.raises(DeviceError, match=r"y\.bin is not a plain file there"):
        board.pull("/", ["y.bin"], tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_board_writes_only_what_it_was_asked_for(tmp_path):
    (tmp_path / "here").mkdir()
    board = open_device("ssh://board", emulated_target())
    outside = [member("../evil"), member(str(tmp_path / "evil")), member("more/evil")]
    answer(tmp_path, [*outside, member("y.bin"), *outside])
    board.pull("/", ["y.bin"], tmp_path / "here")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["y.bin"]
    assert not list(tmp_path.rglob("evil"))
    answer(tmp_path, [member("../y.bin"), member("/y.bin"), member("./x/y.bin")])
    with pytest.raises(DeviceError, match=r"sent no tar stream of y\.bin"):
        board.pull("/", ["y.bin"], tmp_path / "here")


def test_a_compressed_or_cut_answer_is_refused(tmp_path):
    (tmp_path / "here").mkdir()
    board = open_device("ssh://board", emulated_target())
    answer(tmp_path, [member("y.bin")], "w:gz")
    with pytest.raises(DeviceError, match="sent no tar stream"):
        board.pull("/", ["y.bin"], tmp_path / "here")
    answer(tmp_path, [member("y.bin")])
    whole = (tmp_path / "stream").read_bytes()
    for size in (0, 100, 512, 700):
        (tmp_path / "stream").write_bytes(whole[:size])
        with pytest.raises(DeviceError, match="sent no tar stream"):
            board.pull("/", ["y.bin"], tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_links_in_an_artifacts_folder_are_sent_as_files(tmp_path):
    folder = tmp_path / "sent"
    folder.mkdir()
    (tmp_path / "real").write_bytes(b"weights")
    (folder / "weights.bin").symlink_to(tmp_path / "real")
    remote = Path(open_device("ssh://board", emulated_target()).push(folder))
    assert not (remote / "weights.bin").is_symlink()
    assert (remote / "weights.bin").read_bytes() == b"weights"


def test_the_artifact_runs_itself(tmp_path: Path):
    sample = samples.make_artifact()
    sample.save(tmp_path / "s.edge")
    got = Artifact.load(tmp_path / "s.edge").run({"x": samples.case(3)})
    np.testing.assert_array_equal(got["y"], samples.outputs_of(samples.case(3))["y"])
