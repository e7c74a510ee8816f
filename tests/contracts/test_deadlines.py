"""Deadlines to the second: at a deadline acting still works and refunding does not; a second later it is the other way
round. Every call is mined in a block of exactly that time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import web3
from world import BUDGET, CHALLENGE, CHARGE, EVIDENCE, RESULT, RULING, at, now, pass_time, refusal_values, refused_field

from oracle.jobs.states import State

DAY = 24 * 3600
REASON = b"why".ljust(32, b"\0")
CREATED = ("create", {"judged": True, "arbitrated": True})
ACCEPTED = ("accepted", {"judged": True, "arbitrated": True})
COMPLETED = ("delivered", {"judged": True, "arbitrated": True})
REJECTED = ("rejected_by_validator", {"judged": True, "arbitrated": True})
DISPUTED = ("disputed", {"judged": True, "arbitrated": True})
IN_TIME = {
    "accept": (CREATED, "accept", "oracle"),
    "accept_open": (("create", {"open": True}), "accept", "other_oracle"),
    "deliver_unaccepted": (CREATED, "deliver", "oracle"),
    "deliver_attested_unaccepted": (CREATED, "deliverAttested", "oracle"),
    "deliver": (ACCEPTED, "deliver", "oracle"),
    "deliver_attested": (ACCEPTED, "deliverAttested", "oracle"),
    "fail": (ACCEPTED, "fail", "oracle"),
    "validate_accepting": (COMPLETED, "validate", "stranger"),
    "validate_rejecting": (COMPLETED, "reject_by_validator", "stranger"),
    "dispute_by_requester": (COMPLETED, "dispute", "requester"),
    "dispute_of_a_rejection": (REJECTED, "dispute", "oracle"),
    "rule": (DISPUTED, "rule", "arbiter"),
}
AFTERWARDS = {
    "refund_of_an_unaccepted_job": (CREATED, "claimRefund", State.EXPIRED),
    "refund_of_an_accepted_job": (ACCEPTED, "claimRefund", State.EXPIRED),
    "settlement_of_silence": (COMPLETED, "settle", State.SETTLED),
    "settlement_of_a_rejection": (REJECTED, "settle", State.REJECTED),
    "settlement_after_a_silent_arbiter": (DISPUTED, "settle", State.SETTLED),
}


def reached(world, how: str, options: dict):
    terms = world.terms(**options)
    return (world.create(terms), terms) if how == "create" else getattr(world, how)(terms)


def prepared(world, call: str, job: int, terms) -> tuple:
    """Function, arguments and value of a call that only the clock can refuse."""
    extra = {
        "fail": (REASON,),
        "deliver": (CHARGE, RESULT),
        "deliverAttested": (CHARGE, RESULT, world.attestation(job, terms)),
        "validate": (world.attestation(job, terms),),
        "reject_by_validator": (world.attestation(job, terms, accepted=False),),
        "dispute": (EVIDENCE,),
        "rule": (5_000,),
    }.get(call, ())
    function = getattr(world.escrow, "validate" if call == "reject_by_validator" else call)
    return function, (job, terms.to_abi(), *extra), terms.bond if call == "dispute" else 0


@pytest.mark.parametrize(("start", "call", "actor"), IN_TIME.values(), ids=IN_TIME)
def test_acting__in_the_last_second__works(world, start, call, actor):
    job, terms = reached(world, *start)
    function, args, value = prepared(world, call, job, terms)

    assert at(world.escrow.deadlineOf(job), function, *args, sender=getattr(world, actor), value=value) is None


@pytest.mark.parametrize(("start", "call", "actor"), IN_TIME.values(), ids=IN_TIME)
def test_acting__a_second_late__is_refused_and_changes_nothing(world, start, call, actor):
    job, terms = reached(world, *start)
    function, args, value = prepared(world, call, job, terms)
    deadline, money, state = world.escrow.deadlineOf(job), world.money(), world.state(job)

    assert at(deadline + 1, function, *args, sender=getattr(world, actor), value=value) == "TooLate"

    assert (world.money(), world.state(job), world.escrow.deadlineOf(job)) == (money, state, deadline)
    refused = refusal_values(function, *args, sender=getattr(world, actor), value=value)
    assert refused == ("TooLate", job, deadline)


@pytest.mark.parametrize(("start", "call", "outcome"), AFTERWARDS.values(), ids=AFTERWARDS)
def test_ending__in_the_last_second__is_too_early(world, start, call, outcome):
    job, terms = reached(world, *start)
    deadline, state = world.escrow.deadlineOf(job), world.state(job)
    function = getattr(world.escrow, call)

    assert at(deadline, function, job, terms.to_abi(), sender=world.stranger) == "TooEarly"

    assert world.state(job) == state
    assert refusal_values(function, job, terms.to_abi(), sender=world.stranger) == ("TooEarly", job, deadline)


@pytest.mark.parametrize(("start", "call", "outcome"), AFTERWARDS.values(), ids=AFTERWARDS)
def test_ending__a_second_later__works_for_anyone(world, start, call, outcome):
    job, terms = reached(world, *start)
    second = world.escrow.deadlineOf(job) + 1

    assert at(second, getattr(world.escrow, call), job, terms.to_abi(), sender=world.stranger) is None

    assert (world.state(job), world.escrow.deadlineOf(job)) == (outcome, 0)


def test_deadline_of__in_each_phase__is_the_phases_own(world):
    terms = world.terms(judged=True, arbitrated=True)
    assert world.escrow.deadlineOf(1) == 0

    job = world.create(terms)
    assert world.escrow.deadlineOf(job) == terms.accept_by
    world.escrow.accept(job, terms.to_abi(), {"from": world.oracle})
    assert world.escrow.deadlineOf(job) == terms.deliver_by
    sent = world.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})
    assert world.escrow.deadlineOf(job) == sent.timestamp + CHALLENGE
    sent = world.escrow.dispute(job, terms.to_abi(), EVIDENCE, {"from": world.requester, "value": terms.bond})
    assert world.escrow.deadlineOf(job) == sent.timestamp + RULING
    world.escrow.rule(job, terms.to_abi(), 1, {"from": world.arbiter})
    assert world.escrow.deadlineOf(job) == 0


def test_cancel_and_reject__long_after_accept_by__still_end_the_job(world):
    """Nobody has to wait for a stranger: the two parties can end an unaccepted job at any time."""
    for call, extra, sender in (("cancel", (), world.requester), ("reject", (REASON,), world.oracle)):
        job = world.create(terms := world.terms())
        second = terms.accept_by + 400 * DAY

        assert at(second, getattr(world.escrow, call), job, terms.to_abi(), *extra, sender=sender) is None


@pytest.mark.parametrize(
    ("accept_by", "deliver_by", "field"),
    [
        (2**32 - 1, 2**32 - 1, "deliverBy"),
        (2**32 - 1, 0, "deliverBy"),
        (0, 2**32 - 1, "acceptBy"),
        (0, 0, "acceptBy"),
    ],
)
def test_create_job__overflowing_deadlines__are_refused(world, accept_by, deliver_by, field):
    terms = replace(world.terms(), accept_by=accept_by, deliver_by=deliver_by)

    assert refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=BUDGET) == field


def test_create_job__overflowing_challenge_period__is_refused(world):
    for period in (90 * DAY + 1, 2**31, 2**32 - 1):
        terms = world.terms(judged=True, challenge_period=period)
        found = refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=BUDGET)
        assert found == "challengePeriod"


@pytest.mark.parametrize("field", ["accept_by", "deliver_by", "challenge_period", "budget", "validator_fee", "bond"])
def test_create_job__number_wider_than_its_type__is_refused_before_anything_is_hashed(world, field):
    """Upper bits that the type does not have would make a hash that honest terms never match."""
    position = list(vars(world.terms())).index(field)
    data = bytearray.fromhex(world.escrow.createJob.encode_input(world.terms(judged=True).to_abi())[2:])
    data[4 + 32 * position] = 1  # the most significant byte of the word
    call = {"from": world.requester.address, "to": world.escrow.address, "value": BUDGET, "data": "0x" + data.hex()}

    with pytest.raises(ValueError, match="revert"):
        web3.eth.call(call)


def test_create_job__accept_by_this_very_second__is_in_time(world):
    second = now() + 10
    terms = replace(world.terms(), accept_by=second, deliver_by=second)
    create = (world.escrow.createJob, terms.to_abi())

    assert at(second, *create, sender=world.requester, value=BUDGET) is None
    assert at(second + 1, *create, sender=world.requester, value=BUDGET) == "InvalidTerms"


def test_create_job__a_year_and_a_day_ahead__is_the_furthest(world):
    second = now() + 10
    furthest = replace(world.terms(), deliver_by=second + 366 * DAY)
    too_far = replace(furthest, deliver_by=second + 1 + 366 * DAY + 1)

    assert at(second, world.escrow.createJob, furthest.to_abi(), sender=world.requester, value=BUDGET) is None
    assert (
        at(second + 1, world.escrow.createJob, too_far.to_abi(), sender=world.requester, value=BUDGET) == "InvalidTerms"
    )


def test_deliver__at_the_longest_period_on_the_last_day__keeps_its_deadline_whole(world):
    """The largest deadline reachable from terms still fits the slot beside state and hash."""
    start = now()
    terms = world.terms(judged=True, accept_by=start + 366 * DAY, deliver_by=start + 366 * DAY)
    terms = replace(terms, challenge_period=90 * DAY)
    job, terms = world.accepted(terms)
    pass_time(start + 366 * DAY - 10)

    sent = world.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})

    assert world.escrow.deadlineOf(job) == sent.timestamp + 90 * DAY
    assert world.escrow.matches(job, terms.to_abi())
