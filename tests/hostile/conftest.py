"""One warm sandbox for all hostile files: starting one costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oracle.circuits.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(1) as pool:
        yield pool
