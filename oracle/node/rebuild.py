"""A new journal from the chain alone, for a node that lost its own.

The chain knows which jobs are ours and where they stand; what only the journal knew is made again: counts that were
not delivered yet are computed once more. Transactions the lost journal signed may still be in a mempool, which harms
nobody: their nonces are taken for used, and the contract takes one acceptance and one delivery a job, so whichever
comes second has no effect.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from oracle.chain.client import ChainClient
from oracle.chain.sender import MAX_PENDING
from oracle.jobs.errors import ChainError, JournalError
from oracle.node.config import NodeConfig
from oracle.node.database import claim_file, version_of
from oracle.node.ingest import Ingest
from oracle.node.journal import Journal

_SIDE_FILES = ("-wal", "-shm")
"""What SQLite keeps beside its file; the three belong together."""


@dataclass(frozen=True)
class RebuildReport:
    """``jobs`` counts them by step, ``last_block`` is the newest block read, ``nonce`` the next to be used.

    ``kept`` is where the former journal is now, if there was one.
    """

    jobs: dict[str, int]
    last_block: int
    nonce: int
    kept: Path | None


def rebuild(
    chain: ChainClient,
    oracle: str,
    path: Path,
    config: NodeConfig,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> RebuildReport:
    """Make the journal of the node that signs as ``oracle`` anew from the chain; ``progress`` as for ``Ingest``.

    The former file is moved aside when the new one is complete, so that an interrupted rebuild changes nothing. Raises
    :class:`JournalError` while a node uses the journal, and :class:`~oracle.jobs.errors.ChainError`.
    """
    with closing(claim_file(path)):
        unfinished = path.with_name(path.name + ".rebuilding")
        for leftover in _files(unfinished):
            leftover.unlink(missing_ok=True)
        identity = {"chain_id": chain.chain_id, "escrow": chain.deployment.job_escrow, "oracle": oracle}
        with closing(Journal(unfinished, **identity)) as journal:
            ingest = Ingest(chain, journal, oracle, config, progress=progress)
            ingest.run_once()
            nonce = _next_nonce(chain, oracle)
            journal.start_nonces_at(oracle, nonce)
            jobs = journal.counts()
        unfinished.with_suffix(".lock").unlink()
        kept = _moved_aside(path)
        unfinished.rename(path)
    return RebuildReport(jobs, ingest.last, nonce, kept)


def require_journal(path: Path, chain: ChainClient, oracle: str) -> None:
    """Refuse to start an oracle without its journal once it has worked: it could accept, sign and forget again.

    Raises :class:`JournalError`, and :class:`~oracle.jobs.errors.ChainError` when the chain cannot be asked.
    """
    if version_of(path) or not has_worked(chain, oracle):
        return
    raise JournalError(
        f"is missing, though {oracle} has worked on chain {chain.chain_id} before",
        field=str(path),
        remedy="restore it, or run `qscrow oracle rebuild` to make a new one from the chain",
    )


def has_worked(chain: ChainClient, oracle: str) -> bool:
    """Whether ``oracle`` ever accepted or delivered a job on this chain."""
    if not chain.transaction_count(oracle):
        return False
    _, locked = chain.registry.stake_of(oracle)
    return locked > 0 or any(chain.work_of(oracle, chain.block().number))


def _next_nonce(chain: ChainClient, oracle: str) -> int:
    mined, pending = chain.transaction_count(oracle), chain.transaction_count(oracle, "pending")
    if pending > mined + MAX_PENDING:
        raise ChainError(f"the endpoint claims {pending} transactions after {mined}", remedy="use another endpoint")
    return max(mined, pending)


def _moved_aside(path: Path) -> Path | None:
    """Rename what is there, with a number nobody has yet."""
    if not any(file.exists() for file in _files(path)):
        return None
    names = (path.with_name(f"{path.name}.old-{number}") for number in itertools.count(1))
    kept = next(name for name in names if not any(file.exists() for file in _files(name)))
    # The log goes before its file: left behind by a crash in between, it would be replayed into another one.
    for file, aside in zip(reversed(_files(path)), reversed(_files(kept)), strict=True):
        if file.exists():
            file.rename(aside)
    return kept


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in _SIDE_FILES)]
