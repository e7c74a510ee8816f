"""Putting a validator together from an account, a chain and a store, and taking it apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from oracle.backends.select import open_backend
from oracle.chain.client import ChainClient
from oracle.chain.fees import FeePolicy
from oracle.chain.sender import Sender
from oracle.circuits.limits import CircuitLimits
from oracle.content.store import ContentStore
from oracle.node.config import NodeConfig
from oracle.node.content import tended_content
from oracle.node.pipeline import Tools
from oracle.node.watch import Watch
from oracle.sealing.keys import SealingKey
from oracle.validator.journal import ValidatorJournal
from oracle.validator.service import Validator


@contextmanager
def opened_validator(
    chain: ChainClient,
    account: Any,
    key: SealingKey,
    *,
    store: ContentStore,
    journal: Path,
    config: NodeConfig,
    limits: CircuitLimits | None = None,
    watch: Watch | None = None,
) -> Iterator[Validator]:
    """A validator that signs with ``account`` and keeps its journal in the file ``journal``.

    Raises as :func:`oracle.node.assembly.opened_node` does. A lost journal is made again from the chain by itself: what
    is judged already is seen there.
    """
    limits = limits or CircuitLimits()
    identity = {"chain_id": chain.chain_id, "escrow": chain.deployment.job_escrow, "oracle": account.address}
    with closing(ValidatorJournal(journal, **identity)) as book, closing(open_backend(config, limits)) as backend:
        policy = FeePolicy(
            bump_after_blocks=config.bump_after_blocks,
            max_fee_wei=config.max_fee_wei,
            max_tip_wei=config.max_tip_wei,
            max_in_flight=config.max_in_flight_transactions,
        )
        sender = Sender(chain.w3, account, book, policy=policy, chain_id=chain.chain_id)
        watch = watch or Watch(config)
        watch.samples(chain=chain, journal=book, sender=sender)
        validator = Validator(Tools(chain, sender, book, store, backend, key, config, limits), book, watch)
        with tended_content(book, store, config):
            try:
                yield validator
            finally:
                validator.drain(config.drain_seconds)
