"""What to pay for gas: an estimate from recent blocks, caps, and the rules for replacing a transaction."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from oracle.chain.attempts import DYNAMIC_FEE
from oracle.jobs.errors import ChainError, InputError

MIN_BUMP_PERCENT = 12.5  # what the strictest clients want on both fields before they replace a transaction
HISTORY_BLOCKS = 5
TIP_PERCENTILE = 50


@dataclass(frozen=True)
class FeePolicy:
    """What an operator decides about paying for gas. Fees in wei per gas.

    A transaction not mined for ``bump_after_blocks`` blocks is replaced by one that pays at least ``bump_percent``
    more on both fields, up to ``max_fee_wei`` and ``max_tip_wei``. A mined one is final once ``final_after`` blocks lie
    on top of it; ``None`` means the chain's ``finalized`` tag. At most ``max_in_flight`` are unmined at once; each is
    broadcast again every ``resend_seconds``.
    """

    bump_percent: float = MIN_BUMP_PERCENT
    bump_after_blocks: int = 3
    max_fee_wei: int = 500 * 10**9
    max_tip_wei: int = 50 * 10**9
    min_tip_wei: int = 10**6
    final_after: int | None = None
    max_in_flight: int = 16
    resend_seconds: float = 60

    def __post_init__(self) -> None:
        if not self.bump_percent >= MIN_BUMP_PERCENT:
            raise InputError(f"is less than {MIN_BUMP_PERCENT}", field="bump_percent", remedy="networks refuse less")
        for name in ("bump_after_blocks", "max_fee_wei", "max_tip_wei", "max_in_flight"):
            if getattr(self, name) < 1:
                raise InputError("must be at least 1", field=name)
        if not 0 <= self.min_tip_wei <= self.max_tip_wei:
            raise InputError("must lie between 0 and max_tip_wei", field="min_tip_wei")
        if (self.final_after or 0) < 0 or self.resend_seconds < 0:
            raise InputError("must not be negative", field="final_after, resend_seconds")

    def opening(self, market: Market) -> Fees | None:
        """Fees of a new transaction; ``None`` while the caps are below what the next block asks."""
        wanted = self._wanted(market)
        if market.base_fee is None:
            return wanted if wanted.max_fee <= self.max_fee_wei else None
        if market.base_fee > self.max_fee_wei:
            return None
        fee = min(wanted.max_fee, self.max_fee_wei)
        return Fees(fee, min(wanted.max_tip, fee))

    def replacement(self, old: Fees, market: Market) -> Fees | None:
        """Fees every client takes as a replacement of ``old``; ``None`` if they would exceed a cap."""
        wanted, tip_cap = self._wanted(market), self.max_fee_wei if old.legacy else self.max_tip_wei
        fee = max(self._bumped(old.max_fee), min(wanted.max_fee, self.max_fee_wei))
        tip = fee if old.legacy else max(self._bumped(old.max_tip), min(wanted.max_tip, fee, tip_cap))
        return Fees(fee, tip, old.legacy) if fee <= self.max_fee_wei and tip <= tip_cap else None

    def _wanted(self, market: Market) -> Fees:
        """Without the fee cap: twice the base fee outlasts six full blocks in a row, each 12.5 % dearer."""
        if market.base_fee is None:
            price = max(market.tip, self.min_tip_wei)
            return Fees(price, price, legacy=True)
        tip = min(max(market.tip, self.min_tip_wei), self.max_tip_wei)
        return Fees(2 * market.base_fee + tip, tip)

    def _bumped(self, fee: int) -> int:
        """``bump_percent`` more, rounded up, and more in any case."""
        per_million = round(self.bump_percent * 10_000)
        return max(fee + 1, -(-fee * (1_000_000 + per_million) // 1_000_000))


@dataclass(frozen=True)
class Fees:
    """Fees of one transaction in wei per gas; the two are the same in a ``legacy`` one."""

    max_fee: int
    max_tip: int
    legacy: bool = False

    @classmethod
    def of(cls, transaction: dict[str, Any]) -> Fees:
        """The fees of a transaction as ``sign_transaction`` takes it."""
        if "gasPrice" in transaction:
            return cls(transaction["gasPrice"], transaction["gasPrice"], legacy=True)
        return cls(transaction["maxFeePerGas"], transaction["maxPriorityFeePerGas"])

    def fields(self) -> dict[str, int]:
        """Their part of a transaction as ``sign_transaction`` takes it."""
        if self.legacy:
            return {"gasPrice": self.max_fee}
        return {"type": DYNAMIC_FEE, "maxFeePerGas": self.max_fee, "maxPriorityFeePerGas": self.max_tip}


@dataclass(frozen=True)
class Market:
    """What gas costs now, in wei: the next block's base fee and a usual tip; on a chain without base fees
    (``None``) ``tip`` is the usual gas price."""

    base_fee: int | None
    tip: int


def read_market(w3: Any, head: Any) -> Market:
    """What gas costs after the block ``head``. Raises :class:`ChainError` for an unusable answer."""
    from web3.exceptions import Web3RPCError

    if head.get("baseFeePerGas") is None:
        return Market(None, quantity(w3.eth.gas_price, "gas price"))
    base_fee = quantity(head["baseFeePerGas"], "base fee")
    try:
        history = w3.eth.fee_history(HISTORY_BLOCKS, "latest", [TIP_PERCENTILE])
    except Web3RPCError:  # not every endpoint keeps a history
        return Market(base_fee, quantity(w3.eth.max_priority_fee, "tip"))
    bases = [quantity(base, "base fee") for base in history["baseFeePerGas"]]
    used = zip(history.get("reward") or [], history["gasUsedRatio"], strict=False)
    tips = [quantity(reward[0], "tip") for reward, ratio in used if ratio]  # an empty block says nothing
    return Market(max([base_fee, *bases[-1:]]), int(statistics.median(tips)) if tips else 0)


def quantity(value: Any, name: str) -> int:
    """``value`` if it is a number an honest endpoint could send. Raises :class:`ChainError`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**256:
        raise ChainError(f"the endpoint answered with a {name} that is no number", remedy="use another endpoint")
    return value
