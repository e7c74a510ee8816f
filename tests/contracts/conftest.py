"""Fixtures of the contract tests. Run by Brownie on anvil."""

from __future__ import annotations

import pytest
from brownie import Contract
from world import BOND, World


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
