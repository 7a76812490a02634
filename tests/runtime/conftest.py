from pathlib import Path

import pytest
from c_programs import linked, write_folder

from edgeconv.compiler.link import Emit


@pytest.fixture(scope="session")
def host_entries() -> dict[str, bytes]:
    """A linked bundle for this machine."""
    return linked("host", Emit.BUNDLE)


@pytest.fixture
def host_folder(host_entries: dict[str, bytes], tmp_path: Path) -> Path:
    """An artifact's folder of its own, which a test may damage."""
    return write_folder(tmp_path / "artifact", host_entries)
