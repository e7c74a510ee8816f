"""Putting a validator together from an account, a chain and a store, and taking it apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from oracle.backends.select import open_backend
from oracle.chain.client import ChainClient
from oracle.circuits.limits import CircuitLimits
from oracle.content.store import ContentStore
from oracle.node.assembly import at_work, identity_of, sender_of
from oracle.node.config import NodeConfig
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
    with (
        closing(ValidatorJournal(journal, **identity_of(chain, account))) as book,
        closing(open_backend(config, limits)) as backend,
    ):
        tools = Tools(chain, sender_of(chain, account, book, config), book, store, backend, key, config, limits)
        validator = Validator(tools, book, watch)
        with at_work(validator, tools):
            yield validator
