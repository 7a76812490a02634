"""Finds `models/` and `targets/`, inside an installed wheel or beside the package."""

from pathlib import Path


def resource_dir(name: str) -> Path:
    """Return the folder `name` ("models" or "targets")."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name
