"""From chain events to journal rows: every job for us, at least once, surviving reorganisations.

Blocks are read up to a target: the ``finalized`` block, or as deep below the head as the operator wants. What was
final once must stay on the chain; if it does not, the node halts, for then everything it did may be undone.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable

from oracle.chain.client import Block, ChainClient
from oracle.chain.events import Event
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.states import TAKEN, State
from oracle.node.config import NodeConfig
from oracle.node.intake import Intake
from oracle.node.journal import Journal, Step

ANCESTOR_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)
SWEEP_SECONDS = 15.0
EXAMINED_AT_ONCE = 20
"""Closed jobs whose end the chain does not confirm, looked up in one sweep."""


class FinalityBroken(ChainError):
    """The chain contradicts what it called final. Nothing the node could do by itself would be safe."""

    exit_code = 11  # told apart from other trouble with the chain: starting again would not help


class Ingest:
    """Reads ranges of blocks and writes each with its last block in one go.

    As of the last run, ``head`` is the chain's newest block, of Unix time ``time``, ``target`` the newest one that may
    be acted on and ``last`` the newest one that is in the journal. ``progress(last, target)`` is told after every
    range. ``clock`` measures seconds from anywhere; ``intake`` says which jobs are ours if they are not an oracle's.
    """

    def __init__(
        self,
        chain: ChainClient,
        journal: Journal,
        oracle: str,
        config: NodeConfig,
        clock: Callable[[], float] = time.monotonic,
        progress: Callable[[int, int], None] = lambda *_: None,
        intake: Intake | None = None,
    ):
        self._chain = chain
        self._journal = journal
        self._config = config
        self._clock = clock
        self._progress = progress
        self._intake = intake or Intake(journal, chain.deployment.job_escrow, oracle, config.take_open_jobs)
        self._swept_at, self._swept_to = clock(), 0
        self._has_finalized_tag = True
        self._done_with: bytes | None = None  # the head at which there was nothing left to do
        self._closed_by: dict[int, int] = {}
        self.head = self.time = self.target = self.last = 0

    def run_once(self) -> int:
        """Take in everything new; returns how many jobs it found.

        Raises :class:`FinalityBroken`, and :class:`ChainError` for what may pass.
        """
        head = self._chain.block()
        self.head, self.time = head.number, head.timestamp
        overdue = self._clock() - self._swept_at >= SWEEP_SECONDS
        if head.hash == self._done_with and not overdue:
            return 0
        final = self._final(head)
        self._require_final_block(head)
        self._follow_reorganisation(head)
        confirmations = self._config.confirmations_on(self._chain.chain_id)
        self.target = target = final if confirmations is None else head.number - confirmations
        found = self._read_up_to(target, min(final, target), head)
        # By blocks as well: on a fast chain the last ones read would be out of reach before the time is over.
        if overdue or self.last - self._swept_to >= self._config.backup_sweep_blocks / 2:
            found += self._sweep(min(target, self.last), final)
            self._reopen_undone(head, self.last)
            self._swept_at, self._swept_to = self._clock(), self.last
        self._done_with = head.hash
        return found

    # ------------------------------------------------------------------------------------------- reading

    def _read_up_to(self, target: int, final: int, head: Block) -> int:
        before = self._journal.last_block()
        start = self._chain.deployment.block if before is None else before[0] + 1
        self.last = start - 1
        if target < start:
            return 0
        tip = head if target == head.number else self._chain.block(target)
        ancestors = self._ancestors(target) if before is None else []
        newly_final = self._newly_final(final)
        found = 0
        for first, until, events in self._chain.events_in_ranges(start, target):
            placed, news = self._intake.sorted(events, lambda job_id, until=until: self._story(job_id, until))
            end = tip if until == target else self._chain.block(until)
            self._require_linked(before, first, end)
            if until > final:
                self._require_still(tip, [event for event in events if event.block > final])
            # Each with its range: a remembered block counts as read, and so must everything before it be.
            inside = [block for block in ancestors if first <= block.number < until]
            news_of_finality = newly_final if until == target else None
            found += self._journal.ingested(end, placed, news, ancestors=inside, final=news_of_finality)
            before = (end.number, end.hash)
            self.last = until
            self._progress(until, target)
        return found

    def _sweep(self, target: int, final: int) -> int:
        """Read the last blocks once more: providers sometimes drop logs and have them a little later."""
        first = max(self._chain.deployment.block, target - self._config.backup_sweep_blocks)
        if first > target:
            return 0
        tip = self._chain.block(target)
        events = [event for _, _, part in self._chain.events_in_ranges(first, target) for event in part]
        if target > final:
            self._require_still(tip, [event for event in events if event.block > final])
        placed, news = self._intake.sorted(events, lambda job_id: self._story(job_id, target))
        return self._journal.ingested(None, placed, news)

    def _story(self, job_id: int, until: int) -> list[Event]:
        return self._chain.job_events(job_id, self._chain.deployment.block, until)

    def _ancestors(self, target: int) -> list[Block]:
        """On the first run, places to go back to; later runs leave one behind each."""
        deployed = self._chain.deployment.block
        numbers = sorted({deployed, *(target - depth for depth in ANCESTOR_DEPTHS)})
        return [self._chain.block(number) for number in numbers if deployed <= number < target]

    def _require_linked(self, before: tuple[int, bytes] | None, first: int, end: Block) -> None:
        """Raise unless the range's first block is the child of the block ``before`` it."""
        if before is not None:
            begin = end if first == end.number else self._chain.block(first)
            if begin.parent_hash != before[1]:
                raise _reorganised(first)

    def _require_still(self, tip: Block, events: list[Event]) -> None:
        """Raise unless the chain below ``tip`` is the one whose logs were read: ``tip`` was there before them."""
        if self._chain.block(tip.number).hash != tip.hash:
            raise _reorganised(tip.number)
        for number, block_hash in sorted({(event.block, event.block_hash) for event in events}):
            if block_hash != (tip.hash if number == tip.number else self._chain.block(number).hash):
                raise _reorganised(number)

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

    def _require_final_block(self, head: Block) -> None:
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
        if not self._is_on_chain(number, block_hash, head):
            raise FinalityBroken(
                f"block {number} was final and is not on this chain any more: the node halts",
                remedy="find out whether the endpoint serves another chain or was reset; for the chain you trust make"
                " a new journal with `qscrow oracle rebuild`, or move a validator's away",
            )

    def _newly_final(self, number: int) -> Block | None:
        known = self._journal.final_block()
        if number < self._chain.deployment.block or (known is not None and number <= known[0]):
            return None
        return self._chain.block(number)

    # -------------------------------------------------------------------------------------- reorganisations

    def _follow_reorganisation(self, head: Block) -> None:
        """Go back to the newest remembered block that is still on the chain, if the newest of all is not.

        Blocks beyond the head are no contradiction: the endpoint may be behind.
        """
        last = self._journal.last_block()
        if last is None or (last[0] <= head.number and self._is_on_chain(*last, head)):
            return
        blocks = self._journal.blocks(up_to=head.number)
        if not blocks:
            raise ChainUnavailable(
                f"the endpoint's head is block {head.number}, far behind block {last[0]}",
                remedy="wait until it has caught up, or use another one",
            )
        if self._is_on_chain(*blocks[-1], head):
            return
        # Whatever is above a block that is gone, is gone.
        common = bisect.bisect_left(blocks, True, key=lambda block: not self._is_on_chain(*block, head))
        if not common:
            raise FinalityBroken(
                "none of the blocks the journal remembers is on this chain any more: the node halts",
                remedy="the endpoint serves another chain, or it was reset: check it, or make a new"
                " journal with `qscrow oracle rebuild`, or move a validator's away",
            )
        self._rewind(blocks[common - 1][0])

    def _rewind(self, ancestor: int) -> None:
        moved = self._journal.placed_after(ancestor)
        placed = [self._intake.placement(row, self._story(row.job_id, ancestor)) for row in moved]
        self._journal.rewind(ancestor, placed)

    def _is_on_chain(self, number: int, block_hash: bytes, head: Block) -> bool:
        if number == head.number:
            return head.hash == block_hash
        if number == head.number - 1:
            return head.parent_hash == block_hash
        try:
            return self._chain.block(number).hash == block_hash
        except ChainError as err:
            if "not found" in str(err).lower():
                return False
            raise

    def _reopen_undone(self, head: Block, read: int) -> None:
        """Work again on jobs that were closed in a block that did not stay.

        The node closes a job when it sees the transaction mined, and its end is confirmed when ingestion reads it. If
        ingestion has passed that block and read no end, the chain is asked.
        """
        for job_id in self._to_examine(head, read):
            state = self._chain.escrow.state_of(job_id)
            why = f"the chain has it as {state.label}"
            if state in (State.COMPLETED, State.DISPUTED):
                self._journal.reopen(job_id, why, Step.DELIVERED)
            elif state in (State.CREATED, *TAKEN) and self._chain.escrow.deadline_of(job_id) >= head.timestamp:
                self._journal.reopen(job_id, why)

    def _to_examine(self, head: Block, read: int) -> list[int]:
        """Jobs closed in blocks up to ``read`` without being confirmed, as many as one sweep looks up: those not looked
        at for longest, and each not again before there is another block than ``head``."""
        unconfirmed = self._journal.unconfirmed()
        self._closed_by = {job_id: self._closed_by.get(job_id, head.number) for job_id in unconfirmed}
        overdue = sorted((number, job_id) for job_id, number in self._closed_by.items() if number <= read)
        chosen = [job_id for _, job_id in overdue[:EXAMINED_AT_ONCE]]
        self._closed_by |= dict.fromkeys(chosen, head.number + 1)
        return chosen


def _reorganised(number: int) -> ChainUnavailable:
    return ChainUnavailable(f"block {number} was reorganised away while it was read", remedy="wait")
