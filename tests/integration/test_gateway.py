"""Requester and oracle share a chain and the oracle's gateway, and nothing else: no IPFS daemon, no folder."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.history import fetch_job
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.content.cid import CID
from oracle.content.remote import GatewayStore
from oracle.content.select import open_store
from oracle.jobs.errors import ContentNotFound, ContentUnavailable
from oracle.jobs.states import State
from oracle.node.assembly import opened_node
from oracle.node.config import NodeConfig
from oracle.node.content import Keeper, open_node_content, tended_content
from oracle.node.journal import ACTIVE, Step
from oracle.requester.draft import load_draft, write_example
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.keys import SealingKey

STAKE = 10**18
PATIENCE_SECONDS = 60


class World:
    """A chain, a requester, and an operator whose node has a folder of its own."""

    def __init__(self, folder: Path):
        w3 = in_process_chain()
        deployer, self.requester, self.operator = dev_accounts(3)
        self.chain = ChainClient(w3, deploy(w3, deployer))
        self.requester_key, self.oracle_key = SealingKey.generate(), SealingKey.generate()
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        Sender(w3, self.operator).send(self.chain.registry.register(self.oracle_key.public, bytes(32), STAKE))

    def requester_store(self):
        """What `QSCROW_GATEWAYS` makes of a folder that only the requester has."""
        return open_store(self.folder / "requester" / "content", {"QSCROW_GATEWAYS": self.url})

    def submit(self, store, **changes) -> int:
        """Submit an example through ``store``; answers the job's number."""
        path = self.folder / "requester" / f"{time.monotonic_ns()}" / "job.yaml"
        write_example(path, "ghz")
        draft = load_draft(path)
        ready = prepare(
            replace(draft, fields={**draft.fields, **changes}),
            Parties(oracle=self.operator.address),
            chain=self.chain,
            requester=self.requester.address,
            key=self.requester_key,
        )
        return submit(ready, chain=self.chain, store=store, sender=Sender(self.chain.w3, self.requester)).job_id

    @contextmanager
    def node(self):
        """The operator's node and the keeper of its store, with the gateway open."""
        config = NodeConfig(workers=1, poll_seconds=0.02, max_backoff_seconds=0.1)
        serving = replace(config, gateway_port=self.port)
        store = open_node_content(self.folder / "oracle" / "content", {}, serving)
        journal = self.folder / "oracle" / "journal.db"
        with (
            opened_node(
                self.chain, self.operator, self.oracle_key, store=store, journal=journal, config=config
            ) as node,
            tended_content(node.journal, store, serving, complain=pytest.fail),
        ):
            yield node, Keeper(node.journal, store, serving)

    def run(self, node, done) -> None:
        """Let the node work until ``done()``."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < give_up, "the node did not finish in time"
            node.tick()
            time.sleep(0.01)

    def opened(self, job_id: int, store):
        """The result, fetched through ``store``."""
        history = fetch_job(self.chain, job_id)
        assert history.state == State.SETTLED, history.reason
        return open_result(history, chain=self.chain, store=store, key=self.requester_key)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize("circuit", ["public", "sealed"])
@pytest.mark.parametrize("keeps_copies", [True, False])
def test_job__over_the_oracles_gateway_alone__comes_back_with_its_result(world, circuit, keeps_copies):
    store = world.requester_store() if keeps_copies else GatewayStore(world.url)
    with world.node() as (node, _):
        job_id = world.submit(store, privacy={"circuit": circuit})
        world.run(node, lambda: node.journal.job(job_id) and not node.journal.jobs(ACTIVE))

        opened = world.opened(job_id, store)

    assert set(opened.counts) == {"00000", "11111"}
    assert (world.folder / "requester" / "content").exists() == keeps_copies


def test_job__content_older_than_uploads_may_be__is_kept_because_the_job_lives(world):
    store = GatewayStore(world.url)
    with world.node() as (node, keeper):
        rubbish = store.put(b"nobody ever names this")
        job_id = world.submit(store)
        world.run(node, lambda: node.journal.job(job_id))
        for path in world.folder.glob("oracle/content/**/*.data"):
            os.utime(path, (0, 0))

        keeper.collect()

        with pytest.raises(ContentNotFound):
            store.get(rubbish, max_bytes=100)
        world.run(node, lambda: not node.journal.jobs(ACTIVE))
        assert world.opened(job_id, store).counts


def test_job__gateway_away_for_a_while__is_no_loss(world):
    """Submitting needs the gateway, and locks nothing without it; a result waits for its reader."""
    with pytest.raises(ContentUnavailable):
        world.submit(world.requester_store())
    assert world.chain.balance(world.chain.deployment.job_escrow) == 0

    with world.node() as (node, _):
        job_id = world.submit(world.requester_store())
        world.run(node, lambda: node.journal.job(job_id) and not node.journal.jobs(ACTIVE))
    with pytest.raises(ContentUnavailable):
        world.opened(job_id, GatewayStore(world.url))

    with world.node():
        assert world.opened(job_id, GatewayStore(world.url)).counts


def test_job__result_altered_on_the_oracles_disk__is_not_believed(world):
    store = GatewayStore(world.url)
    with world.node() as (node, keeper):
        job_id = world.submit(store)
        world.run(node, lambda: node.journal.job(job_id) and not node.journal.jobs(ACTIVE))
        assert node.journal.job(job_id).step == Step.CLOSED
        result = CID.from_digest(fetch_job(world.chain, job_id).result)
        keeper._local._path(result).write_bytes(b"other counts")

        with pytest.raises(ContentNotFound):
            world.opened(job_id, store)
