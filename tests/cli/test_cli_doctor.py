import dataclasses

import pytest

from edgeconv.target import Gpu

STATES = ("ok", "missing", "broken", "wrong version", "not writable", "disk full")


def checks(answer):
    return {check["name"]: check for check in answer["checks"]}


def test_every_check_has_a_state_and_what_is_missing_a_remedy(cli_json):
    answer = cli_json("doctor")
    for check in answer["checks"]:
        assert check["state"] in STATES
        assert bool(check["remedy"]) == (check["state"] != "ok")
    assert answer["ok"] == all(check["state"] == "ok" for check in answer["checks"])


def test_what_the_tests_themselves_need_is_found(cli_json):
    found = {
        c["name"].split("=")[0].split(" ")[0]
        for c in cli_json("doctor")["checks"]
        if c["state"] == "ok"
    }
    assert {"Python", "apache-tvm", "apache-tvm-ffi", "zig", "qemu-aarch64", "qemu-arm"} <= found


def test_a_missing_emulator_and_its_remedy_are_named(cli_json, cli, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    answer = cli_json("doctor")
    emulator = next(c for c in answer["checks"] if c["name"].startswith("qemu-arm"))
    assert (emulator["state"], emulator["remedy"]) == ("missing", "apt-get install qemu-user")
    assert "rasp2" in emulator["name"]
    assert not answer["ok"]
    assert "apt-get install qemu-user" in cli("doctor").stdout


@pytest.mark.parametrize(
    ("found", "state"), [("0.1.15.post2", "wrong version"), ("0.1.14.post0", "ok")]
)
def test_a_package_of_another_version_is_named(cli_json, monkeypatch, found, state):
    from importlib import metadata

    monkeypatch.setattr(
        "edgeconv.cli.doctor.version",
        lambda name: found if name == "apache-tvm-ffi" else metadata.version(name),
    )
    check = checks(cli_json("doctor"))["apache-tvm-ffi==0.1.14.post0"]
    assert (check["state"], check["found"]) == (state, found)


def test_a_package_that_is_not_there_is_named(cli_json, monkeypatch):
    monkeypatch.setattr(
        "edgeconv.cli.doctor.requires", lambda name: ['no-such-thing>=1; extra == "compiler"']
    )
    check = checks(cli_json("doctor"))["no-such-thing>=1"]
    assert check["state"] == "missing"
    assert check["remedy"] == "pip install 'edgeconv[compiler]'"


def test_a_full_disk_is_named(cli_json, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert checks(cli_json("doctor"))["cache folder"]["state"] == "ok"
    monkeypatch.setattr("edgeconv.cli.doctor.CACHE_BYTES", 1 << 60)
    assert checks(cli_json("doctor"))["cache folder"]["state"] == "disk full"


def test_the_drivers_limits_are_named_as_in_a_target_file(cli_json):
    found = checks(cli_json("doctor"))["an OpenCL driver"]["found"]
    limits = dict(part.split() for part in found.rsplit(": ", 1)[1].split(", "))
    assert set(limits) <= {field.name for field in dataclasses.fields(Gpu)}
    # PoCL's local memory is ordinary memory, which it shares with the processor that it is.
    assert (limits["local_kib"], limits["unified_memory"]) == ("0", "true")
    assert int(limits["image_texels"]) >= 65536  # as OpenCL 1.2 asks of devices with images
