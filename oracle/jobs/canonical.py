"""Canonical JSON (RFC 8785) and strict parsing: one document, one byte string, one digest."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

import rfc8785

from oracle.jobs.errors import InputError

MAX_DEPTH = 32
_NESTING = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
# A bracket, or a whole string, whose brackets do not count; one without an end reaches to the end of the data.
_TOKEN = re.compile(rb'[][{}]|"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?:"|\Z)', re.DOTALL)


def canonical_bytes(document: Any) -> bytes:
    """RFC 8785 bytes of ``document``. Raises :class:`InputError` for what JSON cannot carry exactly."""
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as err:
        raise InputError(f"cannot be written as canonical JSON ({err})") from None


def digest(data: bytes) -> bytes:
    """sha-256 of ``data``: 32 bytes, the digest in the CID of its raw IPFS block."""
    return hashlib.sha256(data).digest()


def parse_json(data: bytes, what: str, max_bytes: int) -> Any:
    """Parse untrusted JSON strictly: UTF-8, no duplicate keys, finite numbers, bounded size and depth.

    ``what`` names the document in errors. Raises :class:`InputError`.
    """
    if len(data) > max_bytes:
        raise InputError(f"is {len(data)} bytes, more than the {max_bytes} allowed", field=what)
    if is_deeper(data, MAX_DEPTH):
        raise InputError("is nested too deeply", field=what)
    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_pairs,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", field=what) from None
    except RecursionError:
        raise InputError("is nested too deeply", field=what) from None
    except ValueError as err:
        raise InputError(f"is not valid JSON ({err})", field=what) from None
    return document


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _bounded_int(text: str) -> int:
    if len(text) > 20:
        raise ValueError("number too large")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number too large")
    return value


def is_deeper(data: bytes, limit: int) -> bool:
    """Whether JSON text nests deeper than ``limit``, found out without parsing it.

    To be asked before ``json.loads`` sees a stranger's bytes: py-evm raises Python's recursion limit so far that the
    parser's own recursion would end the process.
    """
    depth = 0
    for token in _TOKEN.finditer(data):
        depth += _NESTING.get(token[0], 0)
        if depth > limit:
            return True
    return False
