"""A real chain inside the process with the contracts, a registered oracle, and a store on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.content.store import BlockStore
from oracle.requester.draft import load_draft, write_example
from oracle.sealing.keys import SealingKey

STAKE = 10**18


@dataclass
class World:
    """Senders of the parties; ``key`` is the requester's master sealing key, ``oracle_key`` the oracle's."""

    chain: ChainClient
    requester: Sender
    oracle: Sender
    stranger: Sender
    key: SealingKey
    oracle_key: SealingKey

    def block(self) -> int:
        return self.chain.block().number


@pytest.fixture(scope="session")
def world() -> World:
    w3 = in_process_chain()
    deployer, requester, oracle, stranger = (Sender(w3, account) for account in dev_accounts(4))
    chain = ChainClient(w3, deploy(w3, deployer.account))
    oracle_key = SealingKey.from_bytes(b"o" * 32)
    oracle.send(chain.registry.register(oracle_key.public, b"p" * 32, STAKE))
    return World(chain, requester, oracle, stranger, SealingKey.from_bytes(b"r" * 32), oracle_key)


@pytest.fixture
def store(tmp_path) -> BlockStore:
    return BlockStore(tmp_path / "content")


@pytest.fixture
def draft_file(tmp_path):
    path = tmp_path / "job.yaml"
    write_example(path, "ghz")
    return path


@pytest.fixture
def draft(draft_file) -> Any:
    return load_draft(draft_file)
