"""From chain events to journal rows: every job for us, exactly once, surviving reorganisations."""

from __future__ import annotations

from oracle.chain.client import ChainClient
from oracle.chain.events import Event
from oracle.jobs.errors import ChainError
from oracle.jobs.terms import Terms
from oracle.node.config import NodeConfig
from oracle.node.journal import Journal

ANCESTOR_DEPTHS = (1, 4, 16, 64, 256)


class Ingest:
    """Reads the blocks that lie deep enough, in ranges, and writes each range with its last block in one go."""

    def __init__(self, chain: ChainClient, journal: Journal, oracle: str, config: NodeConfig):
        self._chain = chain
        self._journal = journal
        self._oracle = oracle
        self._config = config

    def run_once(self) -> int:
        """Take in everything new; returns how many jobs it found. Raises :class:`ChainError`."""
        target = self._target()
        self._follow_reorganisation()
        last = self._journal.last_block()
        first = self._chain.deployment.block if last is None else last[0] + 1
        found = 0
        while first <= target:
            until = min(first + self._config.block_range - 1, target)
            end = self._chain.block(until)
            found += self._journal.ingested(until, end.hash, self._jobs_for_us(self._chain.events(first, until)))
            first = until + 1
        if last is None:
            # Only now: a remembered block counts as read, and so must everything before it be.
            self._remember_ancestors(target)
        return found

    def _remember_ancestors(self, target: int) -> None:
        """On the first run, places to go back to; later runs leave one behind each."""
        deployed = self._chain.deployment.block
        for number in sorted({deployed, *(target - depth for depth in ANCESTOR_DEPTHS)}):
            if deployed <= number < target:
                self._journal.remember_block(number, self._chain.block(number).hash)

    def _target(self) -> int:
        confirmations = self._config.confirmations_on(self._chain.chain_id)
        if confirmations is None:
            return self._chain.block("finalized").number
        return self._chain.block().number - confirmations

    def _jobs_for_us(self, events: list[Event]) -> list[tuple[int, Terms, int, bytes]]:
        ours = []
        for event in events:
            if event.name != "JobCreated" or event.address != self._chain.deployment.job_escrow:
                continue
            terms = Terms.from_abi(event.args["terms"])
            if terms.oracle == self._oracle or (terms.is_open and self._config.take_open_jobs):
                ours.append((event.job_id, terms, event.block, event.block_hash))
        return ours

    def _follow_reorganisation(self) -> None:
        """Go back to the newest remembered block that is still on the chain."""
        remembered = self._journal.blocks_backwards()
        for position, (number, block_hash) in enumerate(remembered):
            if self._is_on_chain(number, block_hash):
                if position:
                    self._journal.rewind(number)
                return
        if remembered:
            raise ChainError(
                f"none of the {len(remembered)} blocks the journal remembers is on this chain any more",
                remedy="the endpoint serves another chain, or it was reset: check it, or start with a new journal",
            )

    def _is_on_chain(self, number: int, block_hash: bytes) -> bool:
        try:
            return self._chain.block(number).hash == block_hash
        except ChainError as err:
            if "not found" in str(err).lower():
                return False
            raise
