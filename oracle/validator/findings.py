"""What an examination comes to, and what can end one early."""

from __future__ import annotations

from dataclasses import dataclass

from oracle.jobs.errors import BackendUnavailable
from oracle.validation.verdict import Verdict


class NotYet(BackendUnavailable):
    """Something the verdict needs may still come."""


class Wrong(Exception):
    """What the oracle wrote breaks its promises."""


class Unclear(Exception):
    """Nothing can be said, and not through the oracle's fault."""


@dataclass(frozen=True)
class Finding:
    """A verdict, and the method of the spec (``none`` if it could not be read)."""

    verdict: Verdict
    method: str
