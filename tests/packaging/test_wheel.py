"""The wheel, installed where torch and TVM are not, as on a board."""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution, requires
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import edgeconv
from edgeconv.resources import resource_dir

ROOT = Path(edgeconv.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (path,) = folder.glob("edgeconv-*.whl")
    return path


@pytest.fixture(scope="module")
def board(wheel, tmp_path_factory) -> Path:
    """The `bin` of a fresh environment with the wheel and its base dependencies only."""
    folder = tmp_path_factory.mktemp("board")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in base_dependencies("edgeconv"):
        link_distribution(name, packages)
    pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return folder / "bin"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "tiny.edge"
    edgeconv.compile("zoo:mobilenet_v2/tiny").save(path)
    return path


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True, timeout=300)


def base_dependencies(name: str) -> Iterator[str]:
    """Yield what a distribution needs without extras, and what that needs."""
    for text in requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
            yield from base_dependencies(requirement.name)


def link_distribution(name: str, packages: Path) -> None:
    """Make this environment's distribution visible in another, without a registry."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
        if not (packages / top).exists():
            (packages / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def run(board: Path, *command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(board / str(command[0])), *map(str, command[1:])],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(board)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_everything_that_an_installed_edgeconv_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("models", "targets"):
        source = resource_dir(folder)
        for path in source.rglob("*.*"):
            if path.suffix != ".pyc":
                assert f"edgeconv/{folder}/{path.relative_to(source).as_posix()}" in names
    for path in (ROOT / "edgeconv").rglob("*"):
        if path.suffix in {".py", ".c", ".h"}:
            assert path.relative_to(ROOT).as_posix() in names
    assert {"edgeconv/runtime/include/edgeconv.h", "edgeconv/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "docs/"))]


def test_base_install_has_no_compiler(board):
    program = (
        "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'tvm', 'onnx')])"
    )
    assert run(board, "python", "-c", program) == "[None, None, None]\n"


def test_targets_models_and_doctor_work(board, tmp_path):
    assert "rasp4" in run(board, "edgeconv", "targets", cwd=tmp_path)
    assert "zoo:mobilenet_v2" in run(board, "edgeconv", "models", cwd=tmp_path)
    report = json.loads(run(board, "edgeconv", "doctor", "--json", cwd=tmp_path))
    states = {(check["part"], check["state"]) for check in report["checks"]}
    assert ("base", "ok") in states
    assert ("compiler", "missing") in states
    assert ("base", "missing") not in states


def test_compiling_says_what_to_install(board, tmp_path):
    command = [str(board / "edgeconv"), "compile", "zoo:mobilenet_v2/tiny", "--target", "host"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 7
    assert "pip install 'edgeconv[compiler" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_artifact_is_inspected_verified_and_run(board, artifact, tmp_path):
    assert "mobilenet_v2_tiny" in run(board, "edgeconv", "inspect", artifact)
    assert json.loads(run(board, "edgeconv", "verify", artifact, "--json"))["passed"] is True
    inputs, wanted = edgeconv.Artifact.load(artifact).golden_cases()[0]
    np.savez(tmp_path / "in.npz", **inputs)
    run(board, "edgeconv", "run", artifact, "--inputs", "in.npz", "--outputs", "out.npz",
        cwd=tmp_path)  # fmt: skip
    with np.load(tmp_path / "out.npz") as outputs:
        for name, want in wanted.items():
            np.testing.assert_allclose(outputs[name], want, rtol=1e-4, atol=1e-5)
