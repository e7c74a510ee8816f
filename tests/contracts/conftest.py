"""Fixtures of the contract tests. Run by Brownie on anvil."""

from __future__ import annotations

import gc
import time

import pytest
import requests
from brownie import Contract, web3
from web3 import HTTPProvider
from world import BOND, World

LATE = ("eth_getTransactionByHash", "eth_getTransactionReceipt")


class Anvil(HTTPProvider):
    """anvil counts a transaction a moment before it shows it, and Brownie takes one that is counted and not there for
    dropped."""

    def make_request(self, method, params):
        """As the provider, with patience for a transaction that was just sent."""
        until = time.monotonic() + 10
        while True:
            answer = super().make_request(method, params)
            if method not in LATE or answer.get("result") or time.monotonic() > until:
                return answer
            time.sleep(0.005)


@pytest.fixture(scope="session", autouse=True)
def brisk():
    """Without what took half the time: web3 asks for the chain's number twice before a call, requests looks for
    proxies, and Brownie collects garbage after every test, through all the modules it has loaded."""
    session = requests.Session()
    session.trust_env = False
    web3.provider = Anvil(web3.provider.endpoint_uri, {"timeout": 60}, session=session)
    web3.middleware_onion.remove("validation")
    gc.freeze()


@pytest.fixture(scope="module")
def world(module_isolation, JobEscrow, OracleRegistry, ResultNFT, PlainToken, accounts):
    """The contracts, a token, and who plays whom. Each test starts from the same state."""
    names = ("requester", "oracle", "arbiter", "stranger", "other_oracle", "sponsor")
    actors = dict(zip(names, accounts[1:], strict=False))
    escrow = accounts[0].deploy(JobEscrow)
    made = World(
        escrow=escrow,
        registry=Contract.from_abi("OracleRegistry", escrow.oracleRegistry(), OracleRegistry.abi),
        nft=Contract.from_abi("ResultNFT", escrow.resultNFT(), ResultNFT.abi),
        token=accounts[0].deploy(PlainToken),
        funder=accounts[0],
        **actors,
    )
    for oracle in (made.oracle, made.other_oracle):
        made.registry.register(b"k" * 32, b"p" * 32, {"from": oracle, "value": 10 * BOND})
    made.funder.transfer(made.validator.address, "1 ether")
    made.token.mint(made.requester, 10**12, {"from": accounts[0]})
    made.token.approve(escrow, 2**255, {"from": made.requester})
    return made


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test is rolled back."""
