"""From chain events to journal rows: every job for us, at least once, surviving reorganisations.

Blocks are read up to a target: the ``finalized`` block, or as deep below the head as the operator wants. What was
final once must stay on the chain; if it does not, the node halts, for then everything it did may be undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from oracle.chain.client import Block, ChainClient
from oracle.chain.events import Event
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.terms import Terms
from oracle.node.config import NodeConfig
from oracle.node.journal import Journal

ANCESTOR_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)
SWEEP_SECONDS = 15.0

Job = tuple[int, Terms, int, bytes]


class FinalityBroken(ChainError):
    """The chain contradicts what it called final. Nothing the node could do by itself would be safe."""


class Ingest:
    """Reads ranges of blocks and writes each with its last block in one go."""

    def __init__(
        self,
        chain: ChainClient,
        journal: Journal,
        oracle: str,
        config: NodeConfig,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._chain = chain
        self._journal = journal
        self._oracle = oracle
        self._config = config
        self._clock = clock
        self._swept_at = clock()
        self._has_finalized_tag = True
        self.head = 0
        self.last = 0

    def run_once(self) -> int:
        """Take in everything new; returns how many jobs it found.

        Raises :class:`FinalityBroken`, and :class:`ChainError` for what may pass.
        """
        head = self._chain.block()
        self.head = head.number
        final = self._final(head)
        self._require_final_blocks(head)
        self._follow_reorganisation(head)
        confirmations = self._config.confirmations_on(self._chain.chain_id)
        target = final if confirmations is None else head.number - confirmations
        found = self._read_up_to(target, min(final, target))
        if self._clock() - self._swept_at >= SWEEP_SECONDS:
            found += self._sweep(target)
            self._swept_at = self._clock()
        return found

    # ------------------------------------------------------------------------------------------- reading

    def _read_up_to(self, target: int, final: int) -> int:
        known = self._journal.last_block()
        start = self._chain.deployment.block if known is None else known[0] + 1
        self.last = start - 1
        found = 0
        for _, until, events in self._chain.events_in_ranges(start, target):
            jobs, end = self._jobs_for_us(events), self._chain.block(until).hash
            found += self._journal.ingested(
                until, end, jobs, final=self._newly_final(final) if until == target else None
            )
            self.last = until
        if known is None and target >= start:
            # Only now: a remembered block counts as read, and so must everything before it be.
            self._remember_ancestors(target)
        return found

    def _sweep(self, target: int) -> int:
        """Read the last blocks once more: providers sometimes drop logs and have them a little later."""
        first = max(self._chain.deployment.block, target - self._config.backup_sweep_blocks)
        ranges = self._chain.events_in_ranges(first, target)
        jobs = [job for _, _, events in ranges for job in self._jobs_for_us(events)]
        return sum(self._journal.add_job(*job) for job in jobs if self._journal.job(job[0]) is None)

    def _jobs_for_us(self, events: list[Event]) -> list[Job]:
        ours = []
        for event in events:
            if event.name != "JobCreated" or event.address != self._chain.deployment.job_escrow:
                continue
            terms = Terms.from_abi(event.args["terms"])
            if terms.oracle == self._oracle or (terms.is_open and self._config.take_open_jobs):
                ours.append((event.job_id, terms, event.block, event.block_hash))
        self._require_on_chain(ours)
        return ours

    def _require_on_chain(self, jobs: list[Job]) -> None:
        """The chain may have been reorganised while its logs were read; then they are read again."""
        for number, block_hash in sorted({(block, block_hash) for _, _, block, block_hash in jobs}):
            if not self._is_on_chain(number, block_hash):
                raise ChainUnavailable(f"block {number} was reorganised away while it was read", remedy="wait")

    # ------------------------------------------------------------------------------------------- finality

    def _final(self, head: Block) -> int:
        """The last block that stays; on a chain without that notion, one deep enough below the head."""
        if self._has_finalized_tag:
            try:
                return self._chain.block("finalized").number
            except ChainUnavailable:
                raise
            except ChainError:
                self._has_finalized_tag = False
        return head.number - self._config.finality_fallback_confirmations

    def _require_final_blocks(self, head: Block) -> None:
        """Raise :class:`FinalityBroken` unless the newest block known to be final is on the chain."""
        known = self._journal.final_block()
        if known is None:
            return
        number, block_hash = known
        if number > head.number:
            raise ChainUnavailable(
                f"the endpoint's head is block {head.number}, though block {number} was final already",
                remedy="wait until it has caught up, or use another one",
            )
        if not self._is_on_chain(number, block_hash):
            raise FinalityBroken(
                f"block {number} was final and is not on this chain any more: the node halts",
                remedy="find out whether the endpoint serves another chain or was reset; `qscrow oracle rebuild` makes"
                " a new journal from the chain you trust",
            )

    def _newly_final(self, number: int) -> tuple[int, bytes] | None:
        known = self._journal.final_block()
        if number < self._chain.deployment.block or (known is not None and number <= known[0]):
            return None
        return number, self._chain.block(number).hash

    # -------------------------------------------------------------------------------------- reorganisations

    def _follow_reorganisation(self, head: Block) -> None:
        """Go back to the newest remembered block that is still on the chain."""
        for position, (number, block_hash) in enumerate(self._journal.blocks_backwards()):
            if number > head.number:
                continue  # the endpoint is behind, or the chain is shorter now: older blocks tell which
            if self._is_on_chain(number, block_hash):
                if position and not self._is_only_behind(position, head):
                    self._journal.rewind(number)
                return
        if self._journal.last_block() is not None:
            raise FinalityBroken(
                "none of the blocks the journal remembers is on this chain any more: the node halts",
                remedy="the endpoint serves another chain, or it was reset: check it, or use `qscrow oracle rebuild`",
            )

    def _is_only_behind(self, position: int, head: Block) -> bool:
        """Whether all newer remembered blocks are beyond the endpoint's head, so that nothing contradicts them."""
        return all(number > head.number for number, _ in self._journal.blocks_backwards()[:position])

    def _remember_ancestors(self, target: int) -> None:
        """On the first run, places to go back to; later runs leave one behind each."""
        deployed = self._chain.deployment.block
        for number in sorted({deployed, *(target - depth for depth in ANCESTOR_DEPTHS)}):
            if deployed <= number < target:
                self._journal.remember_block(number, self._chain.block(number).hash)

    def _is_on_chain(self, number: int, block_hash: bytes) -> bool:
        try:
            return self._chain.block(number).hash == block_hash
        except ChainError as err:
            if "not found" in str(err).lower():
                return False
            raise
