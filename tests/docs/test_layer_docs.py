import runpy
import subprocess
import sys
from pathlib import Path

import edgeconv
from edgeconv import nn, zoo
from edgeconv.nn.families import FAMILIES

ROOT = Path(edgeconv.__file__).parents[1]


def test_the_pages_are_what_the_sources_give() -> None:
    command = [sys.executable, "scripts/layer_docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pages_that_differ_are_found(tmp_path: Path) -> None:
    differing = runpy.run_path(str(ROOT / "scripts/layer_docs.py"))["differing"]
    pages = {"same.md": "a", "changed.md": "b", "missing.md": "c"}
    for name, text in {"same.md": "a", "changed.md": "B", "left.md": "d"}.items():
        (tmp_path / name).write_text(text)
    assert differing(pages, tmp_path) == ["changed.md", "left.md", "missing.md"]


def test_what_the_pages_name_is_there() -> None:
    for family in FAMILIES.values():
        assert (ROOT / "tests" / family.checks).is_file()
        assert all(getattr(nn, layer.__name__) is layer for layer in family.layers)
        for network in family.networks:
            name, _, variant = network.partition("/")
            zoo.find(name, variant or "tiny")


def test_every_zoo_network_stands_on_a_page() -> None:
    shown = {network for family in FAMILIES.values() for network in family.networks}
    networks = {
        f"{name}/{variant}" if name == "digits" else name
        for name, model in zoo.list_models().items()
        for variant in model.variants
    }
    assert shown == networks
