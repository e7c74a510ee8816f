"""The state machine of a job, as the contract numbers it (``interfaces/IJobEscrow.sol``)."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Every state of a job. The chain stores :data:`ON_CHAIN`; the others are events."""

    NONE = 0
    CREATED = 1
    ACCEPTED = 2
    SIMULATED = 3
    APPROVED = 4
    SUBMITTED = 5
    QUEUED = 6
    RUNNING = 7
    COMPLETED = 8
    VALIDATED = 9
    SETTLED = 10
    REJECTED = 11
    EXPIRED = 12
    FAILED = 13
    CANCELLED = 14
    DISPUTED = 15

    @property
    def label(self) -> str:
        """The word people read: ``Created``, ``Settled``, …"""
        return self.name.capitalize()


TERMINAL = frozenset({State.SETTLED, State.REJECTED, State.EXPIRED, State.FAILED, State.CANCELLED})
TAKEN = frozenset({State.ACCEPTED, State.APPROVED})
"""An oracle has taken the job and not delivered it; Approved if the requester has promoted it."""
ON_CHAIN = TERMINAL | TAKEN | {State.CREATED, State.COMPLETED, State.DISPUTED}


class Tier(IntEnum):
    """How much a result was verified (``IJobEscrow.Tier``)."""

    UNVERIFIED = 0
    UNCHALLENGED = 1
    STATISTICAL = 2
    REPLAYED = 3
    CANARY = 4
    AGREED = 5
    RULED = 6

    @property
    def label(self) -> str:
        """The word people read."""
        return self.name.capitalize()
