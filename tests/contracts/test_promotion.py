"""Promotion: the requester approves hardware once, may add to the budget, and can never make the oracle late by it."""

from __future__ import annotations

from dataclasses import replace

from brownie import NonZeroToken, web3
from world import BUDGET, CHARGE, EVIDENCE, EXTRA, PROMOTION_NOTICE, RESULT, at, refusal, refusal_values, refused_field

from oracle.jobs.states import State


def test_promote__with_more_money__changes_the_budget_and_nothing_else(world):
    job, before = world.accepted(world.promotable())
    deadline = world.escrow.deadlineOf(job)

    sent = world.escrow.promote(job, before.to_abi(), EXTRA, EVIDENCE, {"from": world.requester, "value": EXTRA})

    assert dict(sent.events["JobPromoted"]) == {
        "jobId": job,
        "requester": world.requester.address,
        "budget": BUDGET + EXTRA,
        "evidence": "0x" + EVIDENCE.hex(),
    }
    assert world.state(job) == State.APPROVED
    assert world.escrow.deadlineOf(job) == deadline
    assert world.escrow.matches(job, replace(before, budget=BUDGET + EXTRA).to_abi())
    assert not world.escrow.matches(job, before.to_abi())
    assert web3.eth.get_balance(world.escrow.address) == BUDGET + EXTRA


def test_promote__without_money__keeps_the_terms(world):
    job, terms = world.promoted(world.promotable(), extra=0)

    assert world.state(job) == State.APPROVED
    assert world.escrow.matches(job, terms.to_abi())


def test_promote__in_a_token__takes_the_extra_in_it(world):
    job, _ = world.promoted(world.promotable(token=world.token.address))

    assert world.token.balanceOf(world.escrow) == BUDGET + EXTRA
    assert world.state(job) == State.APPROVED


def test_promote__without_money_in_a_token_that_cannot_move_nothing__is_taken(world):
    token = world.funder.deploy(NonZeroToken)
    token.mint(world.requester, BUDGET, {"from": world.funder})
    token.approve(world.escrow, BUDGET, {"from": world.requester})

    job, _ = world.promoted(world.promotable(token=token.address), extra=0)

    assert world.state(job) == State.APPROVED


def test_promote__oracle__may_charge_the_new_budget_and_no_more(world):
    job, terms = world.promoted(world.promotable())

    call = (job, terms.to_abi(), terms.budget + 1, RESULT)
    assert refusal(world.escrow.deliver, *call, sender=world.oracle) == "ChargeTooHigh"
    world.escrow.deliver(job, terms.to_abi(), terms.budget, RESULT, {"from": world.oracle})
    assert world.credit(world.oracle) == BUDGET + EXTRA


def test_promote__twice__is_refused(world):
    """Each promotion changes the terms: a requester who could repeat it would keep an oracle from delivering."""
    job, terms = world.promoted(world.promotable())

    met = refusal_values(world.escrow.promote, job, terms.to_abi(), 0, EVIDENCE, sender=world.requester)
    assert met == ("WrongState", job, State.APPROVED)


def test_promote__to_the_second_of_its_notice__holds(world):
    job, terms = world.accepted(world.promotable())
    last = terms.deliver_by - PROMOTION_NOTICE
    call = (job, terms.to_abi(), 0, EVIDENCE)

    snapshot = web3.provider.make_request("evm_snapshot", [])["result"]
    assert at(last + 1, world.escrow.promote, *call, sender=world.requester) == "TooLate"
    web3.provider.make_request("evm_revert", [snapshot])
    assert at(last, world.escrow.promote, *call, sender=world.requester) is None


def test_promote__of_a_short_job__is_never_possible(world):
    job, terms = world.accepted(world.terms())

    met = refusal_values(world.escrow.promote, job, terms.to_abi(), 0, EVIDENCE, sender=world.requester)
    assert met == ("TooLate", job, terms.deliver_by - PROMOTION_NOTICE)


def test_promote__other_value_than_the_extra__is_refused(world):
    job, terms = world.accepted(world.promotable())
    paid, free = (job, terms.to_abi(), EXTRA, EVIDENCE), (job, terms.to_abi(), 0, EVIDENCE)

    for value in (0, EXTRA - 1, EXTRA + 1):
        met = refusal_values(world.escrow.promote, *paid, sender=world.requester, value=value)
        assert met == ("WrongValue", value, EXTRA)
    assert refusal(world.escrow.promote, *free, sender=world.requester, value=1) == "WrongValue"


def test_promote__value_on_a_token_job__is_refused(world):
    job, terms = world.accepted(world.promotable(token=world.token.address))
    for extra in (0, EXTRA):
        call = (job, terms.to_abi(), extra, EVIDENCE)
        met = refusal_values(world.escrow.promote, *call, sender=world.requester, value=1)
        assert met == ("WrongValue", 1, 0)


def test_promote__beyond_what_a_budget_can_be__is_refused(world):
    job, terms = world.accepted(world.promotable())
    call = (job, terms.to_abi(), 2**96 - BUDGET, EVIDENCE)

    assert refusal(world.escrow.promote, *call, sender=world.requester, value=0)
    assert world.escrow.matches(job, terms.to_abi())


def test_promote__requester_who_is_not_the_payer__approves_but_adds_nothing(world):
    """Refunds go to the payer: the requester's money must not end there."""
    sponsored = replace(world.promotable(), requester=world.validator.address, payer=world.sponsor.address)
    job, terms = _sponsored(world, sponsored)
    web3.provider.make_request("anvil_impersonateAccount", [world.validator.address])

    call = (job, terms.to_abi(), 1, EVIDENCE)
    assert refused_field(world.escrow.promote, *call, sender=world.validator, value=1) == "payer"
    assert at(None, world.escrow.promote, job, terms.to_abi(), 0, EVIDENCE, sender=world.validator) is None
    assert refusal(world.escrow.promote, job, terms.to_abi(), 0, EVIDENCE, sender=world.sponsor) == "WrongState"


def _sponsored(world, terms):
    from test_paying import order

    signed = order(world, world.validator, terms, 0)
    world.escrow.createJobFor(terms.to_abi(), 0, signed, {"from": world.sponsor, "value": terms.budget})
    job = world.escrow.jobCount()
    world.escrow.accept(job, terms.to_abi(), {"from": world.oracle})
    return job, terms


def test_promote__in_front_of_a_delivery__costs_the_oracle_one_more_call(world):
    job, old = world.accepted(world.promotable())
    new = old.promoted_to(old.budget + 1)
    world.escrow.promote(job, old.to_abi(), 1, EVIDENCE, {"from": world.requester, "value": 1})

    late = (job, old.to_abi(), CHARGE, RESULT)
    assert refusal(world.escrow.deliver, *late, sender=world.oracle) == "TermsMismatch"
    world.escrow.deliver(job, new.to_abi(), CHARGE, RESULT, {"from": world.oracle})
    assert world.state(job) == State.SETTLED


def test_report__of_a_promoted_job__is_taken(world):
    job, _ = world.promoted(world.promotable())

    sent = world.escrow.report([job], [int(State.QUEUED)], [EVIDENCE], {"from": world.oracle})
    assert dict(sent.events["JobStateChanged"])["state"] == State.QUEUED
