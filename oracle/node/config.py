"""What an operator decides, in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields

from oracle.jobs.errors import InputError

LOCAL_CHAINS = frozenset({31337})


@dataclass(frozen=True)
class NodeConfig:
    """Settings of one node. Money in wei, times in seconds.

    ``confirmations`` blocks must lie on top of a job before the node acts on it; ``None`` means the chain's own
    ``finalized`` tag. A charge is ``price_base + price_per_shot × shots``. ``margin_seconds`` is the time kept free
    before every deadline. ``trusted_validators`` and ``trusted_arbiters`` are the only ones a job may name: a
    requester could otherwise have a friend reject its result.
    """

    confirmations: int | None = None
    poll_seconds: float = 1.0
    block_range: int = 2_000
    workers: int = 2
    max_jobs_at_once: int = 8
    price_base: int = 10**14
    price_per_shot: int = 10**10
    max_bond: int = 10**18
    margin_seconds: int = 5
    take_open_jobs: bool = True
    trusted_validators: frozenset[str] = frozenset()
    trusted_arbiters: frozenset[str] = frozenset()
    max_attempts: int = 8
    max_backoff_seconds: float = 60.0
    backup_sweep_blocks: int = 100
    finality_fallback_confirmations: int = 64
    bump_after_blocks: int = 3
    max_fee_wei: int = 500 * 10**9
    max_tip_wei: int = 50 * 10**9
    max_in_flight_transactions: int = 16
    batch_size: int = 50
    batch_delay_seconds: float = 0.5
    accept_above_wei: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
                raise InputError(f"{value} is negative", field=field.name, remedy="use zero or more")
        for name in ("block_range", "workers", "max_jobs_at_once", "max_attempts", "poll_seconds"):
            if getattr(self, name) <= 0:
                raise InputError("must be more than zero", field=name)

    def confirmations_on(self, chain_id: int) -> int | None:
        """Confirmations to wait for on this chain; a local development chain has nothing to wait for."""
        return 0 if self.confirmations is None and chain_id in LOCAL_CHAINS else self.confirmations
