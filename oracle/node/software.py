"""Which program made a result: the artefact ``code``."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import oracle
from oracle import __version__

PACKAGES = ("numpy", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "qsimcirq", "stim")
"""What can change counts. A worker elsewhere may have others: a result names those of the process that ran it, too."""


def software(container: str = "") -> dict[str, Any]:
    """What runs here, as plain JSON.

    ``package`` is :func:`package_digest`, ``container`` the digest of the image the operator says the node runs in,
    or ``None``: a program cannot find that out for certain.
    """
    return {
        "qscrow": __version__,
        "package": package_digest(),
        "python": platform.python_version(),
        "packages": dict(_installed()),
        "container": container or None,
    }


@cache
def package_digest() -> str:
    """0x-hex of the sha-256 over the files of the package ``oracle``, as they were when first asked for.

    It is that of a list with a line ``<sha-256 in hex>  <path>`` for every file, paths relative to the package and
    in order; compiled Python is left out. ``docs/results.md`` shows how to get it with ``sha256sum``.
    """
    root = Path(oracle.__file__).parent
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    named = sorted((path.relative_to(root).as_posix(), path) for path in files)
    listed = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in named)
    return "0x" + hashlib.sha256(listed.encode()).hexdigest()


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)
