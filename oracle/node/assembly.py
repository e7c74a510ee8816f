"""Putting a node together from an account, a chain and a store, and taking it apart again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from oracle.backends.ibm.select import IbmProvider, open_ibm
from oracle.backends.select import open_backend
from oracle.chain.client import ChainClient
from oracle.chain.fees import FeePolicy
from oracle.chain.sender import Sender
from oracle.circuits.limits import CircuitLimits
from oracle.content.store import ContentStore
from oracle.node.config import NodeConfig
from oracle.node.content import tended_content
from oracle.node.journal import Journal
from oracle.node.logs import event
from oracle.node.loop import Loop
from oracle.node.pipeline import Tools
from oracle.node.rebuild import require_journal
from oracle.node.service import Node
from oracle.node.watch import Watch
from oracle.sealing.keys import SealingKey


def ibm_folder(journal: Path) -> Path:
    """Where the node with this journal notes what runs at IBM: a folder of its own, since what no job of the journal
    needs is cancelled and removed."""
    return journal.with_suffix(".ibm")


@contextmanager
def opened_node(
    chain: ChainClient,
    account: Any,
    key: SealingKey,
    *,
    store: ContentStore,
    journal: Path,
    config: NodeConfig,
    limits: CircuitLimits | None = None,
    watch: Watch | None = None,
) -> Iterator[Node]:
    """A node that signs with ``account`` and keeps its journal in the file ``journal``.

    Raises :class:`~oracle.jobs.errors.JournalError` if another node uses the journal, or if it is missing though the
    account has worked before, and :class:`~oracle.jobs.errors.InputError` if the gateway's port is taken or IBM refuses
    the settings; that IBM is out of reach keeps no node from starting. On leaving, work under way is finished, for
    ``drain_seconds`` at most, and journal and workers are closed.
    """
    limits = limits or CircuitLimits()
    require_journal(journal, chain, account.address)
    with (
        closing(Journal(journal, **identity_of(chain, account))) as book,
        closing(open_backend(config, limits)) as backend,
        _closing(open_ibm(config, ibm_folder(journal), limits, patient=True)) as provider,
    ):
        sender = sender_of(chain, account, book, config)
        tools = Tools(chain, sender, book, store, backend, key, config, limits, provider)
        node = Node(tools, watch)
        with at_work(node, tools):
            yield node


def identity_of(chain: ChainClient, account: Any) -> dict[str, Any]:
    """Whose journal it is: chain, contract and account."""
    return {"chain_id": chain.chain_id, "escrow": chain.deployment.job_escrow, "oracle": account.address}


def sender_of(chain: ChainClient, account: Any, journal: Journal, config: NodeConfig) -> Sender:
    """The sender of ``account``, with the operator's caps."""
    policy = FeePolicy(
        bump_after_blocks=config.bump_after_blocks,
        max_fee_wei=config.max_fee_wei,
        max_tip_wei=config.max_tip_wei,
        max_in_flight=config.max_in_flight_transactions,
    )
    return Sender(chain.w3, account, journal, policy=policy, chain_id=chain.chain_id)


@contextmanager
def at_work(loop: Loop, tools: Tools) -> Iterator[None]:
    """What goes on beside ``loop`` until it is left, which drains it: its content is tended, its figures are shown."""
    loop.watch.samples(chain=tools.chain, journal=tools.journal, sender=tools.sender)
    with tended_content(tools.journal, tools.store, tools.config) as gateway:
        if gateway:
            event("gateway", url=gateway)
        try:
            yield
        finally:
            loop.drain(tools.config.drain_seconds)


@contextmanager
def _closing(provider: IbmProvider | None) -> Iterator[IbmProvider | None]:
    try:
        yield provider
    finally:
        if provider is not None:
            provider.close()
