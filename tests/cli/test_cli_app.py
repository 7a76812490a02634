"""What holds for every command: help, version, exit codes, no traceback."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from edgeconv import errors
from edgeconv.cli.app import app

COMMANDS = [
    "compile",
    "export",
    "verify",
    "run",
    "bench",
    "profile",
    "inspect",
    "targets",
    "models",
    "doctor",
]
EDGECONV = str(Path(sys.executable).parent / "edgeconv")


def edgeconv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([EDGECONV, *arguments], capture_output=True, text=True, check=False)


def test_installed_program_tells_its_version():
    done = edgeconv("--version")
    assert (done.returncode, done.stdout) == (0, f"edgeconv {version('edgeconv')}\n")


def test_help_lists_every_command_and_exit_code(cli):
    text = cli("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in text
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert f"• {code} " in text


def test_exit_codes_in_help_are_those_of_the_errors(cli):
    text = cli("--help").stdout
    for error, words in {
        errors.UsageError: "usage",
        errors.UnsupportedModelError: "unsupported model",
        errors.NumericError: "numeric failure",
        errors.DeviceError: "device failure",
        errors.ArtifactError: "artifact",
        errors.ToolchainError: "tool",
    }.items():
        line = next(line for line in text.splitlines() if f"• {error.exit_code} " in line)
        assert words in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_common_options(cli, command):
    text = cli(command, "--help").stdout
    for option in ("--json", "--quiet", "--verbose"):
        assert option in text


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["targets", "--frobnicate"], ["targets", "surplus"]]
)
def test_wrong_usage_exits_2(cli, arguments):
    cli(*arguments, code=2)


def test_starting_imports_nothing_heavy():
    heavy = {"torch", "tvm", "onnx", "onnxruntime", "skimage", "PIL"}
    program = f"import sys, edgeconv.cli; print({heavy!r} & set(sys.modules) or 'none')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "none\n"


def raising(error: BaseException):
    def list_targets():
        raise error

    return list_targets


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.DeviceError("the board is gone"), 5, "error: the board is gone"),
        (RuntimeError("surprise"), 1, "internal error, please report it: RuntimeError: surprise"),
        (ModuleNotFoundError("no", name="tvm.ir"), 7, "pip install 'edgeconv[compiler,zoo]'"),
        (ModuleNotFoundError("no", name="edgeconv.typo"), 1, "internal error"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(cli, monkeypatch, error, code, message):
    monkeypatch.setattr("edgeconv.target.list_targets", raising(error))
    result = cli("targets", code=code)
    assert result.stdout == ""
    assert message in result.stderr


def test_verbose_shows_the_traceback(cli, monkeypatch):
    monkeypatch.setattr("edgeconv.target.list_targets", raising(errors.DeviceError("gone")))
    assert "Traceback" in cli("targets", "--verbose", code=5).stderr


def test_a_reader_that_leaves_is_no_error():
    with subprocess.Popen(
        [EDGECONV, "targets", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def test_no_colour_codes_where_nothing_is_a_terminal():
    done = edgeconv("doctor")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_exist(shell):
    script = subprocess.run(
        [EDGECONV],
        env={"_EDGECONV_COMPLETE": f"source_{shell}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "_EDGECONV_COMPLETE" in script


def test_every_command_of_the_application_is_tested_here():
    assert sorted(typer.main.get_command(app).commands) == sorted(COMMANDS)
