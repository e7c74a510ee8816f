"""Stakes: what is locked stays, what is free leaves after the delay, and only the escrow locks."""

from __future__ import annotations

import pytest
from brownie import web3
from world import BOND, now, pass_time, refusal

DELAY = 7 * 24 * 3600


@pytest.mark.parametrize("call", ["lock", "release", "slash"])
def test_escrow_calls__by_anybody_else__are_refused(world, call):
    for who in (world.oracle, world.funder, world.stranger):
        assert refusal(getattr(world.registry, call), world.oracle.address, 1, sender=who) == "OnlyEscrow"


def test_register__again__replaces_key_and_profile_and_adds_stake(world):
    before = world.stake()

    world.registry.register(b"n" * 32, b"q" * 32, {"from": world.oracle, "value": 5})

    assert bytes(world.registry.sealingKeyOf(world.oracle)) == b"n" * 32
    assert bytes(world.registry.profileOf(world.oracle)) == b"q" * 32
    assert world.stake() == (before[0] + 5, before[1])


def test_register__without_a_key__is_refused(world):
    assert refusal(world.registry.register, bytes(32), bytes(32), sender=world.oracle) == "EmptyKey"


def test_amounts__of_nothing__are_refused(world):
    assert refusal(world.registry.addStake, sender=world.oracle) == "ZeroAmount"
    assert refusal(world.registry.requestUnstake, 0, sender=world.oracle) == "ZeroAmount"
    assert refusal(world.registry.unstake, world.oracle.address, sender=world.oracle) == "ZeroAmount"


def test_request_unstake__locked_bonds__stay(world):
    world.accepted(world.terms())
    world.accepted(world.terms())
    stake, locked = world.stake()
    assert locked == 2 * BOND

    assert refusal(world.registry.requestUnstake, stake - locked + 1, sender=world.oracle) == "InsufficientStake"
    world.registry.requestUnstake(stake - locked, {"from": world.oracle})

    assert world.stake() == (locked, locked)


def test_unstake__to_the_second__waits_for_the_delay(world):
    world.registry.requestUnstake(BOND, {"from": world.oracle})
    _, available = world.registry.unstakingOf(world.oracle)
    pass_time(available - 2)
    assert refusal(world.registry.unstake, world.oracle.address, sender=world.oracle) == "StillLocked"
    pass_time(available)
    before = world.sponsor.balance()

    world.registry.unstake(world.sponsor, {"from": world.oracle})

    assert world.sponsor.balance() - before == BOND
    assert tuple(world.registry.unstakingOf(world.oracle)) == (0, 0)


def test_request_unstake__again__adds_up_and_restarts_the_delay(world):
    world.registry.requestUnstake(BOND, {"from": world.oracle})
    pass_time(now() + DELAY // 2)

    sent = world.registry.requestUnstake(1, {"from": world.oracle})

    assert tuple(world.registry.unstakingOf(world.oracle)) == (BOND + 1, sent.timestamp + DELAY)


def test_slash__pays_the_payer_through_the_escrow(world):
    job, terms = world.accepted(world.terms())
    pass_time(terms.deliver_by + 1)
    stake, _ = world.stake()
    held = web3.eth.get_balance(world.registry.address)

    world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger})

    assert world.stake() == (stake - BOND, 0)
    assert web3.eth.get_balance(world.registry.address) == held - BOND
    assert world.credit(world.requester) == terms.budget + BOND
