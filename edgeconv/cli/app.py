"""The typer application: global options, exit codes, and the table of commands."""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any

import typer

from edgeconv.cli import console
from edgeconv.cli.bench import bench
from edgeconv.cli.compile import compile_model
from edgeconv.cli.doctor import doctor
from edgeconv.cli.export import export
from edgeconv.cli.inspect import inspect
from edgeconv.cli.models import models
from edgeconv.cli.profile import profile
from edgeconv.cli.run import run
from edgeconv.cli.targets import targets
from edgeconv.cli.verify import verify
from edgeconv.errors import EdgeconvError, ToolchainError

EXIT_CODES = """Exit codes:

* 0 success
* 1 any other failure
* 2 usage: an argument, option or input does not fit
* 3 unsupported model
* 4 numeric failure: outputs differ from the reference by more than the tolerance
* 5 device failure: cannot be reached, or a program on it failed
* 6 damaged, foreign or newer artifact
* 7 a needed tool or package is missing or failed
* 130 interrupted
* 143 terminated
"""

# Top-level modules of the extras' packages.
_OPTIONAL = {
    "torch",
    "tvm",
    "tvm_ffi",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "ziglang",
    "skimage",
    "sklearn",
}

_raised_by_signals: list[BaseException] = []

app = typer.Typer(
    name="edgeconv",
    help="Compile convolutional networks for ARM boards, and prove what they compute.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"edgeconv {version('edgeconv')}\n")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Compile convolutional networks for ARM boards, and prove what they compute."""


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what `command` raises into one message on stderr and an exit code."""

    @functools.wraps(command)
    def run_command(**arguments: Any) -> None:
        for name in ("json", "quiet", "verbose"):
            setattr(console.settings, name, arguments.get(name, False))
        try:
            _run_until_ended(command, arguments)
            sys.stdout.flush()
        except EdgeconvError as error:
            _leave(str(error), error.exit_code)
        except ModuleNotFoundError as error:
            _leave_for_module(error)
        except KeyboardInterrupt:
            _leave("interrupted", 130)
        except MemoryError:
            _leave("not enough memory here; give a smaller model or smaller inputs", 1)
        except BrokenPipeError:
            # The reader has gone (`| head`); keep Python from flushing into it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except typer.Exit:
            raise
        except Exception as error:
            _leave(_internal(error), 1)

    return run_command


def _run_until_ended(command: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Run `command`; where a signal ended it, raise what the signal's handler raised.

    Inside a callback of TVM's, that comes out as an error of TVM's without a message.
    """
    try:
        command(**arguments)
    except Exception:
        if _raised_by_signals:
            raise _raised_by_signals[0] from None
        raise


def _leave(message: str, code: int) -> None:
    if console.settings.verbose:
        sys.stderr.write(traceback.format_exc())
    console.fail(message)
    raise typer.Exit(code) from None


def _leave_for_module(error: ModuleNotFoundError) -> None:
    if (error.name or "").partition(".")[0] not in _OPTIONAL:
        _leave(_internal(error), 1)
    _leave(
        f"this needs the Python package {error.name!r}, which is not installed. "
        "Install the compiler with: pip install 'edgeconv[compiler,zoo]'",
        ToolchainError.exit_code,
    )


def _internal(error: Exception) -> str:
    return (
        f"internal error, please report it: {type(error).__name__}: {error} (--verbose shows where)"
    )


_COMMANDS: dict[str, Callable[..., None]] = {
    "compile": compile_model,
    "export": export,
    "verify": verify,
    "run": run,
    "bench": bench,
    "profile": profile,
    "inspect": inspect,
    "targets": targets,
    "models": models,
    "doctor": doctor,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, epilog="Exit codes: see `edgeconv --help`.")(_guarded(_command))


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave like an exception does, so that temporary files and processes go too."""
    console.fail("terminated")
    _raised_by_signals.append(SystemExit(128 + number))
    raise _raised_by_signals[-1]


def _interrupt(number: int, frame: FrameType | None) -> None:
    _raised_by_signals.append(KeyboardInterrupt())
    raise _raised_by_signals[-1]


def main() -> None:
    """Run the command line; always ends in SystemExit."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    app()
