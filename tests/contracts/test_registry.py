"""Stakes: what is locked stays, what is free leaves after the delay, and only the escrow locks."""

from __future__ import annotations

import pytest
from brownie import Wallet, web3
from world import BOND, BUDGET, CHARGE, FEE, RESULT, at, now, pass_time, refusal, refusal_values

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


def test_register__without_value__publishes_and_adds_no_stake(world):
    sent = world.registry.register(b"n" * 32, bytes(32), {"from": world.stranger})

    assert dict(sent.events["OracleRegistered"])["oracle"] == world.stranger
    assert "StakeAdded" not in sent.events
    assert world.stake(world.stranger) == (0, 0)


def test_add_stake__without_registration__counts(world):
    world.registry.addStake({"from": world.stranger, "value": 7})

    assert world.stake(world.stranger) == (7, 0)
    assert bytes(world.registry.sealingKeyOf(world.stranger)) == bytes(32)


def test_add_stake__more_than_fits__is_refused(world):
    web3.provider.make_request("anvil_setBalance", [world.stranger.address, hex(2**130)])
    world.registry.addStake({"from": world.stranger, "value": 2**128 - 1})

    refused = refusal_values(world.registry.addStake, sender=world.stranger, value=1)

    assert refused == ("StakeTooLarge", 2**128)
    assert refusal(world.registry.register, b"k" * 32, bytes(32), sender=world.stranger, value=1) == "StakeTooLarge"


@pytest.mark.parametrize("amount", [2**128, 2**128 + 1, 2**256 - 1])
def test_request_unstake__amount_that_wraps__is_refused(world, amount):
    stake, _ = world.stake()

    refused = refusal_values(world.registry.requestUnstake, amount, sender=world.oracle)

    assert refused == ("InsufficientStake", world.oracle.address, stake, amount)


def test_unstake__exactly_at_the_delays_end__works(world):
    world.registry.requestUnstake(BOND, {"from": world.oracle})
    _, available = world.registry.unstakingOf(world.oracle)

    assert at(available - 1, world.registry.unstake, world.oracle.address, sender=world.oracle) == "StillLocked"
    assert at(available, world.registry.unstake, world.oracle.address, sender=world.oracle) is None


def test_unstake__nowhere_or_somebody_elses__is_refused(world):
    world.registry.requestUnstake(BOND, {"from": world.oracle})
    pass_time(now() + DELAY + 1)

    nowhere = "0x" + "00" * 20
    for lost in (nowhere, world.escrow.address):  # the escrow would take it and owe it to nobody
        assert refusal(world.registry.unstake, lost, sender=world.oracle) == "InvalidRecipient"
    for thief in (world.stranger, world.other_oracle, world.funder):
        assert refusal(world.registry.unstake, thief.address, sender=thief) == "ZeroAmount"


def test_unstake__recipient_that_refuses__keeps_the_stake_for_another(world):
    wallet = world.stranger.deploy(Wallet, world.stranger)
    wallet.set(1, world.escrow, b"", {"from": world.stranger})
    world.registry.requestUnstake(BOND, {"from": world.oracle})
    pass_time(now() + DELAY + 1)

    refused = refusal_values(world.registry.unstake, wallet.address, sender=world.oracle)

    assert refused == ("TransferFailed", wallet.address, BOND)
    world.registry.unstake(world.sponsor, {"from": world.oracle})


def test_reentrancy__while_unstaking__takes_nothing_twice(world):
    wallet = world.stranger.deploy(Wallet, world.stranger)
    world.stranger.transfer(wallet, BOND)
    data = world.registry.register.encode_input(b"k" * 32, bytes(32))
    wallet.run(world.registry, data, {"from": world.stranger, "value": BOND})
    request = world.registry.requestUnstake.encode_input(BOND)
    wallet.run(world.registry, request, {"from": world.stranger})
    pass_time(now() + DELAY + 1)
    again = world.registry.unstake.encode_input(wallet)
    wallet.set(2, world.registry, again, {"from": world.stranger})
    held = web3.eth.get_balance(world.registry.address)

    wallet.run(world.registry, again, {"from": world.stranger})

    assert (wallet.reentered(), wallet.refused()) == (0, 1)
    assert web3.eth.get_balance(world.registry.address) == held - BOND


def test_stake_on_its_way_out__cannot_be_a_bond_and_cannot_be_slashed(world):
    stake, _ = world.stake()
    job, terms = world.accepted(world.terms())
    world.registry.requestUnstake(stake - BOND, {"from": world.oracle})
    another = world.create(more := world.terms(bond=1))
    assert refusal(world.escrow.accept, another, more.to_abi(), sender=world.oracle) == "InsufficientStake"
    pass_time(terms.deliver_by + 1)

    world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger})

    assert world.stake() == (0, 0)
    assert world.registry.unstakingOf(world.oracle)[0] == stake - BOND


def test_bonds__of_several_jobs__lock_release_and_slash_one_by_one(world):
    stake, _ = world.stake()
    jobs = [world.accepted(world.terms(bond=bond, judged=bond > 2)) for bond in (1, 2, 3, 4)]
    assert world.stake() == (stake, 10)
    (settled, its), (failed, its_too), (refused, judged), (late, slow) = jobs

    world.escrow.deliver(settled, its.to_abi(), CHARGE, RESULT, {"from": world.oracle})
    assert world.stake() == (stake, 9)
    world.escrow.fail(failed, its_too.to_abi(), bytes(32), {"from": world.oracle})
    assert world.stake() == (stake, 7)
    world.escrow.deliver(refused, judged.to_abi(), CHARGE, RESULT, {"from": world.oracle})
    assert world.stake() == (stake, 7)
    verdict = world.attestation(refused, judged, accepted=False)
    world.escrow.validate(refused, judged.to_abi(), verdict, {"from": world.stranger})
    assert world.stake() == (stake - 3, 4)
    pass_time(slow.deliver_by + 1)
    world.escrow.claimRefund(late, slow.to_abi(), {"from": world.stranger})

    assert world.stake() == (stake - 7, 0)
    assert world.credit(world.requester) == (BUDGET - CHARGE) + BUDGET + (BUDGET - FEE + 3) + (BUDGET + 4)


def test_deliver__unaccepted_into_a_challenge_without_stake__is_refused(world):
    world.registry.requestUnstake(world.stake()[0], {"from": world.oracle})
    job = world.create(terms := world.terms(arbitrated=True))

    args = (job, terms.to_abi(), CHARGE, RESULT)
    assert refusal(world.escrow.deliver, *args, sender=world.oracle) == "InsufficientStake"


def test_stakes__of_two_oracles__are_kept_apart(world):
    before = world.stake(world.other_oracle)
    job, terms = world.accepted(world.terms())
    pass_time(terms.deliver_by + 1)
    world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger})

    assert world.stake(world.other_oracle) == before
