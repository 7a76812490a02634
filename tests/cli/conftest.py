import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgeconv.cli.app import app

Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path, monkeypatch) -> Cli:
    """Runs the command line in an empty folder: `cli("targets", "--json", code=0)`.

    Nothing may ever show a traceback, except where --verbose asks for it.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        report = f"{arguments}\nstdout: {result.stdout}\nstderr: {result.stderr}"
        assert result.exit_code == code, report
        if "--verbose" not in arguments:
            assert "Traceback" not in result.output, report
        return result

    return run


@pytest.fixture
def cli_json(cli) -> Callable[..., dict[str, Any]]:
    """Runs a command with --json and returns what stdout holds: one JSON object."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        found = json.loads(cli(*arguments, "--json", code=code).stdout)
        assert isinstance(found, dict)
        return found

    return run
