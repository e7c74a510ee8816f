"""Disputes: who may start one, what a ruling splits and how, and what a silent arbiter leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import web3
from world import BOND, BUDGET, CHALLENGE, CHARGE, EVIDENCE, FEE, RULING, at, pass_time, refusal, refusal_values

from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ZERO_ADDRESS

SHARES = (0, 1, 2, 3_333, 5_000, 6_667, 9_999, 10_000)
NOBODY, REQUESTER, ORACLE = range(3)


def dispute(world, job, terms, by, value=None):
    """Put the job before its arbiter."""
    bond = terms.bond if value is None else value
    return world.escrow.dispute(job, terms.to_abi(), EVIDENCE, {"from": by, "value": bond})


def disputed(world, by: str, *, rejected: bool, **changes):
    """A job disputed by ``by``; with ``rejected``, after a rejecting verdict."""
    if not rejected:
        return world.disputed(world.terms(arbitrated=True, **changes), by=getattr(world, by))
    job, terms = world.rejected_by_validator(world.terms(judged=True, arbitrated=True, **changes))
    dispute(world, job, terms, getattr(world, by))
    return job, terms


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("by", "rejected"), [("requester", False), ("requester", True), ("oracle", True)])
@pytest.mark.parametrize(("budget", "charge", "bond"), [(BUDGET, CHARGE, BOND), (2**96 - 1, 2**96 - 1 - FEE, 1)])
def test_rule__any_share__splits_to_the_last_unit(world, share, by, rejected, budget, charge, bond):
    """Amounts to the edge of their type; the token carries the budget, so that the bonds stand apart."""
    world.token.mint(world.requester, 2**97, {"from": world.funder})
    terms = world.terms(judged=rejected, arbitrated=True, token=world.token.address, budget=budget, bond=bond)
    job, terms = world.accepted(terms)
    world.escrow.deliver(job, terms.to_abi(), charge, b"\x11" * 32, {"from": world.oracle})
    if rejected:
        signed = world.attestation(job, terms, accepted=False)
        world.escrow.validate(job, terms.to_abi(), signed, {"from": world.stranger})
    dispute(world, job, terms, getattr(world, by))
    stake, locked = world.stake()
    assert locked == bond

    world.escrow.rule(job, terms.to_abi(), share, {"from": world.arbiter})

    to_oracle, kept, fee = charge * share // 10_000, bond * share // 10_000, FEE if rejected else 0
    token = world.token.address
    assert world.credit(world.oracle, token) == to_oracle
    assert world.credit(world.validator, token) == fee
    assert world.credit(world.requester, token) == budget - fee - to_oracle
    assert world.credit(world.oracle) == kept  # of the disputer's bond
    assert world.credit(world.requester) == 2 * (bond - kept)  # of both bonds
    assert world.stake() == (stake - (bond - kept), 0)
    assert web3.eth.get_balance(world.escrow.address) == kept + 2 * (bond - kept)
    assert world.token.balanceOf(world.escrow) == budget
    assert world.tier(job) == Tier.RULED
    assert world.state(job) == (State.SETTLED if share else State.REJECTED)
    assert tuple(world.escrow.deliveryOf(job)) == (0, False, NOBODY)


@pytest.mark.parametrize("rejected", [False, True])
def test_settle__arbiter_silent_after_the_requesters_dispute__ends_as_if_undisputed(world, rejected):
    _assert_as_if_undisputed(world, "requester", rejected)


def test_settle__arbiter_silent_after_the_oracles_dispute__ends_as_if_undisputed(world):
    _assert_as_if_undisputed(world, "oracle", rejected=True)


def _assert_as_if_undisputed(world, by: str, rejected: bool) -> None:
    token = world.token.address
    stake, _ = world.stake()
    job, terms = disputed(world, by, rejected=rejected, token=token)
    pass_time(world.escrow.deadlineOf(job) + 1)

    world.escrow.settle(job, terms.to_abi(), {"from": world.stranger})

    to_oracle, fee, slashed = (0, FEE, BOND) if rejected else (CHARGE, 0, 0)
    assert world.credit(world.oracle, token) == to_oracle
    assert world.credit(world.validator, token) == fee
    assert world.credit(world.requester, token) == BUDGET - to_oracle - fee
    assert world.credit(world.oracle) == (BOND if by == "oracle" else 0)
    assert world.credit(world.requester) == slashed + (BOND if by == "requester" else 0)
    assert world.stake() == (stake - slashed, 0)
    assert world.state(job) == (State.REJECTED if rejected else State.SETTLED)
    assert world.tier(job) == (Tier.STATISTICAL if rejected else Tier.UNCHALLENGED)


@pytest.mark.parametrize("late", [0, 1, CHALLENGE])
def test_validate__rejection_whenever_it_comes__leaves_the_oracle_a_whole_period(world, late):
    """In the first second or the last: the period to answer runs from the verdict."""
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    second = max(world.escrow.deadlineOf(job) - CHALLENGE + late, web3.eth.get_block("latest")["timestamp"] + 1)
    signed = world.attestation(job, terms, accepted=False)

    assert at(second, world.escrow.validate, job, terms.to_abi(), signed, sender=world.stranger) is None

    assert world.escrow.deadlineOf(job) == second + CHALLENGE
    last = (world.escrow.dispute, job, terms.to_abi(), EVIDENCE)
    assert at(second + CHALLENGE, *last, sender=world.oracle, value=BOND) is None
    assert world.escrow.deadlineOf(job) == second + CHALLENGE + RULING
    assert tuple(world.escrow.deliveryOf(job)) == (CHARGE, True, ORACLE)


def test_validate__after_a_restarted_period__cannot_restart_it_again(world):
    job, terms = world.rejected_by_validator(world.terms(judged=True, arbitrated=True))
    deadline = world.escrow.deadlineOf(job)

    for accepted in (True, False):
        signed = world.attestation(job, terms, accepted=accepted, method=1)
        assert refusal(world.escrow.validate, job, terms.to_abi(), signed, sender=world.validator) == "AlreadyJudged"
    assert world.escrow.deadlineOf(job) == deadline


@pytest.mark.parametrize("first", ["requester", "oracle"])
@pytest.mark.parametrize("second", ["requester", "oracle"])
def test_dispute__a_second_time__is_refused_whoever_asks(world, first, second):
    job, terms = disputed(world, first, rejected=True)
    before = world.money()

    refused = refusal_values(
        world.escrow.dispute, job, terms.to_abi(), EVIDENCE, sender=getattr(world, second), value=BOND
    )

    assert refused == ("WrongState", job, State.DISPUTED)
    assert world.money() == before
    assert world.escrow.deliveryOf(job)[2] == (REQUESTER if first == "requester" else ORACLE)


@pytest.mark.parametrize("actor", ["arbiter", "validator", "stranger", "other_oracle", "sponsor"])
def test_dispute__by_somebody_else__is_refused(world, actor):
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    sender = getattr(world, actor)
    world.funder.transfer(sender.address, BOND)

    refused = refusal_values(world.escrow.dispute, job, terms.to_abi(), EVIDENCE, sender=sender, value=BOND)

    assert refused == ("NotAllowed", job, sender.address)


def test_dispute__without_an_arbiter__is_refused(world):
    job, terms = world.delivered(world.terms(judged=True))

    for who in (world.requester, world.oracle):
        name = refusal(world.escrow.dispute, job, terms.to_abi(), EVIDENCE, sender=who, value=BOND)
        assert name == "InvalidTerms"


@pytest.mark.parametrize("value", [0, 1, BOND - 1, BOND + 1, 2 * BOND])
def test_dispute__another_bond_than_asked__is_refused(world, value):
    job, terms = world.delivered(world.terms(arbitrated=True))

    refused = refusal_values(world.escrow.dispute, job, terms.to_abi(), EVIDENCE, sender=world.requester, value=value)

    assert refused == ("WrongValue", value, BOND)


@pytest.mark.parametrize("actor", ["requester", "oracle", "validator", "stranger", "funder"])
def test_rule__by_anybody_but_the_arbiter__is_refused(world, actor):
    job, terms = world.disputed(world.terms(judged=True, arbitrated=True))

    for share in (0, 10_000):
        name = refusal(world.escrow.rule, job, terms.to_abi(), share, sender=getattr(world, actor))
        assert name == "NotAllowed"


@pytest.mark.parametrize("share", [10_001, 2**16, 2**96, 2**256 - 1])
def test_rule__more_than_everything__is_refused(world, share):
    job, terms = world.disputed(world.terms(arbitrated=True))

    refused = refusal_values(world.escrow.rule, job, terms.to_abi(), share, sender=world.arbiter)

    assert refused == ("ShareTooHigh", share)


def test_rule__twice__is_refused(world):
    job, terms = world.disputed(world.terms(arbitrated=True))
    world.escrow.rule(job, terms.to_abi(), 5_000, {"from": world.arbiter})
    before = world.money()

    for call, extra in (("rule", (10_000,)), ("settle", ())):
        name = refusal(getattr(world.escrow, call), job, terms.to_abi(), *extra, sender=world.arbiter)
        assert name == "WrongState"
    assert world.money() == before


def test_rule__charge_of_nothing__moves_only_the_bonds(world):
    job, terms = world.accepted(world.terms(arbitrated=True))
    world.escrow.deliver(job, terms.to_abi(), 0, b"\x11" * 32, {"from": world.oracle})
    dispute(world, job, terms, world.requester)

    world.escrow.rule(job, terms.to_abi(), 10_000, {"from": world.arbiter})

    assert (world.credit(world.oracle), world.credit(world.requester)) == (BOND, BUDGET)


def test_rule__job_without_bonds__moves_only_the_charge(world):
    job, terms = world.disputed(world.terms(arbitrated=True, bond=0))
    stakes = world.stake()

    world.escrow.rule(job, terms.to_abi(), 3_333, {"from": world.arbiter})

    to_oracle = CHARGE * 3_333 // 10_000
    assert (world.credit(world.oracle), world.credit(world.requester)) == (to_oracle, BUDGET - to_oracle)
    assert world.stake() == stakes


def test_dispute__several_jobs_at_once__keep_their_bonds_apart(world):
    first, its_terms = world.disputed(world.terms(arbitrated=True))
    second, other_terms = disputed(world, "oracle", rejected=True)
    assert world.stake()[1] == 2 * BOND

    world.escrow.rule(first, its_terms.to_abi(), 0, {"from": world.arbiter})

    assert world.stake()[1] == BOND
    assert world.state(second) == State.DISPUTED
    world.escrow.rule(second, other_terms.to_abi(), 10_000, {"from": world.arbiter})
    assert world.stake()[1] == 0
    assert world.credit(world.requester) == (BUDGET + 2 * BOND) + (BUDGET - FEE - CHARGE)
    assert world.credit(world.oracle) == CHARGE + BOND
    assert web3.eth.get_balance(world.escrow.address) == sum(
        world.credit(who) for who in (world.requester, world.oracle, world.validator)
    )


def test_dispute__requester_that_is_its_own_oracle__gets_all_of_its_bond_back(world):
    """A job to oneself disputes as the requester, and loses nothing to rounding."""
    terms = replace(world.terms(arbitrated=True), requester=world.oracle.address, payer=world.oracle.address)
    job = world.create(terms, sender=world.oracle)
    world.escrow.accept(job, terms.to_abi(), {"from": world.oracle})
    world.escrow.deliver(job, terms.to_abi(), CHARGE, b"\x11" * 32, {"from": world.oracle})
    dispute(world, job, terms, world.oracle)

    world.escrow.rule(job, terms.to_abi(), 3_333, {"from": world.arbiter})

    slashed = BOND - BOND * 3_333 // 10_000
    assert world.credit(world.oracle, ZERO_ADDRESS) == BUDGET + BOND + slashed
    assert web3.eth.get_balance(world.escrow.address) == BUDGET + BOND + slashed
