"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models, beside the project; tests that need it skip where it is absent."""
    place = os.environ.get("VIP5_SHARED_DATA")
    folder = Path(place).parent if place else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder / 'data'} (set VIP5_SHARED_DATA)")
    return folder
