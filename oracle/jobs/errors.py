"""Errors a person can act on.

Every failure Qscrow expects is a :class:`QscrowError`: one line that says what is
wrong, which field it concerns and what to do about it. The command line prints that
line and exits with the class's ``exit_code``; nothing else is shown for it.
"""

from __future__ import annotations


class QscrowError(Exception):
    """An expected failure.

    ``message`` says what is wrong, ``field`` names the input at fault (dotted path, or
    ``None``), ``remedy`` says what would put it right (or ``None``).
    """

    exit_code = 1

    def __init__(self, message: str, *, field: str | None = None, remedy: str | None = None):
        self.message = message
        self.field = field
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        if self.remedy:
            text = f"{text.rstrip('.')}; {self.remedy}"
        return " ".join(text.split())

    def as_dict(self) -> dict[str, str | None]:
        """The same facts for ``--json``: keys ``error``, ``field``, ``message``, ``remedy``."""
        return {
            "error": type(self).__name__,
            "field": self.field,
            "message": self.message,
            "remedy": self.remedy,
        }


class InputError(QscrowError):
    """A spec, an option, a file or an amount the user gave is not acceptable."""

    exit_code = 2


class ChainError(QscrowError):
    """The chain refused a call, or its endpoint answered with something unusable."""

    exit_code = 3


class ChainUnavailable(ChainError):
    """The endpoint cannot be reached now; trying again later may work."""


class ContentError(QscrowError):
    """Content-addressed bytes are malformed, too large or not what their CID promises."""

    exit_code = 4


class ContentNotFound(ContentError):
    """No store that was asked holds the block; it may turn up later."""


class ContentUnavailable(ContentError):
    """A content service cannot be reached now; trying again later may work."""


class SealError(QscrowError):
    """A sealed document does not open: wrong key, wrong job, altered or truncated."""

    exit_code = 5


class CircuitRejected(QscrowError):
    """A circuit breaks a limit, cannot be parsed or cannot be run.

    ``code`` is a stable short reason (at most 31 ASCII characters, fit for the
    ``bytes32`` reason on chain), for example ``too_many_qubits``.
    """

    exit_code = 6

    def __init__(self, code: str, message: str, *, field: str | None = None, remedy: str | None = None):
        self.code = code
        super().__init__(message, field=field, remedy=remedy)

    def as_dict(self) -> dict[str, str | None]:
        return {**super().as_dict(), "code": self.code}


MACHINE_FAULTS = frozenset({"worker_lost", "killed"})
"""Codes of a :class:`CircuitRejected` through no fault of its circuit, at least not for certain: worth trying again."""


class PolicyDenied(QscrowError):
    """A node's policy does not take this job. ``code`` is the reason put on chain."""

    exit_code = 7

    def __init__(self, code: str, message: str, *, field: str | None = None, remedy: str | None = None):
        self.code = code
        super().__init__(message, field=field, remedy=remedy)

    def as_dict(self) -> dict[str, str | None]:
        return {**super().as_dict(), "code": self.code}


class JournalError(QscrowError):
    """The oracle's journal is missing, locked, damaged or belongs to another node."""

    exit_code = 8


class CheckFailed(QscrowError):
    """A run finished but one of its own checks did not hold."""

    exit_code = 9


class BackendUnavailable(QscrowError):
    """Nothing can run circuits now; trying again later may work."""

    exit_code = 10
