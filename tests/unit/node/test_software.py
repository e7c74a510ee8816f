"""The artefact ``code``: which program made a result."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import oracle
from oracle.node import software as module
from oracle.node.software import package_digest, software


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of the package, looked at in place of the real one."""
    package = tmp_path / "oracle"
    shutil.copytree(Path(oracle.__file__).parent, package)
    monkeypatch.setattr(module.oracle, "__file__", str(package / "__init__.py"))
    package_digest.cache_clear()
    yield package
    package_digest.cache_clear()


def test_software__names_what_can_change_counts() -> None:
    told = software("sha256:" + "ab" * 32)

    assert told["qscrow"] == oracle.__version__ and told["container"].startswith("sha256:")
    assert {"qiskit", "qiskit-aer", "numpy"} <= set(told["packages"])
    assert software()["container"] is None


def test_package_digest__another_copy__is_the_same_and_one_changed_byte_is_another(copied) -> None:
    before = package_digest()
    (copied / "jobs" / "__pycache__").mkdir(exist_ok=True)
    (copied / "jobs" / "__pycache__" / "new.pyc").write_bytes(b"compiled")
    package_digest.cache_clear()
    assert package_digest() == before

    with (copied / "jobs" / "terms.py").open("ab") as file:
        file.write(b"#")
    package_digest.cache_clear()
    assert package_digest() != before


def test_package_digest__is_what_sha256sum_gives(copied) -> None:
    """The command of docs/results.md."""
    command = (
        "find . -type f -not -path '*/__pycache__/*' | sed 's|^\\./||' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    )
    found = subprocess.run(command, shell=True, cwd=copied, capture_output=True, text=True, check=True).stdout
    assert package_digest() == "0x" + found.split()[0]
