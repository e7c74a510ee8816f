"""Terms: what the contract refuses, what it accepts at the edge, and what it keeps of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import web3
from world import BOND, BUDGET, CHARGE, RESULT, next_second, now, pass_time, refusal, refused_field, terms_hash

from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS

DAY = 24 * 3600
NONSENSE = {
    "budget": ({"budget": 0}, "budget"),
    "spec": ({"spec": bytes(32)}, "spec"),
    "seal_to": ({"seal_to": bytes(32)}, "sealTo"),
    "past_accept": ({"accept_by": 1}, "acceptBy"),
    "zero_deadlines": ({"accept_by": 0, "deliver_by": 0}, "acceptBy"),
    "deliver_before_accept": ({"deliver_by": 1}, "deliverBy"),
    "overflowing_deadline": ({"deliver_by": 2**32 - 1}, "deliverBy"),
    "open_without_bond": ({"oracle": ZERO_ADDRESS, "bond": 0}, "bond"),
    "period_without_anybody": ({"challenge_period": 1}, "challengePeriod"),
    "fee_without_validator": ({"validator_fee": 1}, "validatorFee"),
}


@pytest.mark.parametrize(("changes", "field"), NONSENSE.values(), ids=NONSENSE)
def test_create_job__terms_without_sense__names_the_field(world, changes, field):
    terms = replace(world.terms(), **changes)
    before = world.money()

    found = refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=terms.budget)

    assert found == field
    assert world.money() == before


def test_create_job__judges_without_sense__names_the_field(world):
    def field(terms):
        return refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=terms.budget)

    judged, arbitrated = world.terms(judged=True), world.terms(arbitrated=True)
    assert field(replace(judged, validator=world.oracle.address)) == "validator"
    assert field(replace(arbitrated, arbiter=world.oracle.address)) == "arbiter"
    assert field(replace(judged, challenge_period=0)) == "challengePeriod"
    assert field(replace(arbitrated, challenge_period=0)) == "challengePeriod"
    assert field(replace(judged, challenge_period=90 * DAY + 1)) == "challengePeriod"
    assert field(replace(judged, validator_fee=BUDGET)) == "validatorFee"
    assert field(replace(judged, validator_fee=2**96 - 1)) == "validatorFee"


@pytest.mark.parametrize("party", ["requester", "payer"])
def test_create_job__for_somebody_else__is_refused(world, party):
    terms = replace(world.terms(), **{party: world.stranger.address})

    found = refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=BUDGET)

    assert found == party


@pytest.mark.parametrize("value", [0, 1, BUDGET - 1, BUDGET + 1])
def test_create_job__other_value_than_the_budget__is_refused(world, value):
    assert refusal(world.escrow.createJob, world.terms().to_abi(), sender=world.requester, value=value) == "WrongValue"


def test_create_job__value_with_a_token_job__is_refused(world):
    terms = world.terms(token=world.token.address)

    assert refusal(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=1) == "WrongValue"


def test_create_job__terms_at_the_edge__are_accepted(world):
    start = now() + 10
    edge = replace(
        world.terms(judged=True, arbitrated=True),
        accept_by=start,
        deliver_by=start,
        challenge_period=90 * DAY,
        validator_fee=BUDGET - 1,
        bond=2**96 - 1,
    )
    next_second(start)

    job = world.create(edge)

    assert world.state(job) == State.CREATED
    assert world.escrow.deadlineOf(job) == start


def test_create_job__a_year_ahead__is_the_furthest(world):
    start = now() + 10
    furthest = replace(world.terms(), deliver_by=start + 366 * DAY)
    next_second(start)
    world.create(furthest)

    too_far = replace(world.terms(), deliver_by=now() + 367 * DAY)

    assert refused_field(world.escrow.createJob, too_far.to_abi(), sender=world.requester, value=BUDGET) == "deliverBy"


def test_create_job__several__are_numbered_from_one_and_kept_by_hash(world):
    first, second = world.terms(), world.terms()

    assert [world.create(first), world.create(second)] == [1, 2]

    assert world.escrow.matches(1, first.to_abi())
    assert not world.escrow.matches(1, second.to_abi())
    assert not world.escrow.matches(3, first.to_abi())
    assert world.state(3) == State.NONE
    assert first.hash() == terms_hash(first)


def test_accept__open_job__makes_the_caller_its_oracle(world):
    job = world.create(terms := world.terms(open=True))

    world.escrow.accept(job, terms.to_abi(), {"from": world.other_oracle})

    taken = terms.taken_by(world.other_oracle.address)
    assert world.escrow.matches(job, taken.to_abi())
    assert not world.escrow.matches(job, terms.to_abi())
    for oracle, name in ((world.oracle, "NotAllowed"), (world.stranger, "NotAllowed")):
        assert refusal(world.escrow.deliver, job, taken.to_abi(), CHARGE, RESULT, sender=oracle) == name


def test_accept__open_job_by_its_own_validator_or_arbiter__is_refused(world):
    for role in ({"judged": True}, {"arbitrated": True}):
        terms = world.terms(open=True, **role)
        terms = replace(
            terms, **({"validator": world.oracle.address} if "judged" in role else {"arbiter": world.oracle.address})
        )
        job = world.create(terms)

        assert refusal(world.escrow.accept, job, terms.to_abi(), sender=world.oracle) == "NotAllowed"


def test_accept__more_bond_than_free_stake__is_refused(world):
    job = world.create(terms := world.terms(bond=10 * BOND + 1))

    assert refusal(world.escrow.accept, job, terms.to_abi(), sender=world.oracle) == "InsufficientStake"


@pytest.mark.parametrize("late", [False, True])
def test_deadlines__to_the_second__hold(world, late):
    """At the deadline itself acting still works and refunding does not; one second later it is the other way round."""
    job = world.create(terms := world.terms())
    pass_time(terms.accept_by + late)
    calls = {
        "accept": (world.escrow.accept, (job, terms.to_abi()), world.oracle),
        "deliver": (world.escrow.deliver, (job, terms.to_abi(), CHARGE, RESULT), world.oracle),
    }
    refund = (world.escrow.claimRefund, (job, terms.to_abi()), world.stranger)
    for function, args, sender in (refund,) if not late else calls.values():
        assert refusal(function, *args, sender=sender) == ("TooLate" if late else "TooEarly")
    for function, args, sender in calls.values() if not late else (refund,):
        web3.eth.call({"from": sender.address, "to": world.escrow.address, "data": function.encode_input(*args)})


@pytest.mark.parametrize(("charge", "name"), [(BUDGET + 1, "ChargeTooHigh"), (2**96 - 1, "ChargeTooHigh")])
def test_deliver__charge_over_the_cap__is_refused(world, charge, name):
    job, terms = world.accepted(world.terms())

    assert refusal(world.escrow.deliver, job, terms.to_abi(), charge, RESULT, sender=world.oracle) == name


def test_deliver__charge_that_eats_the_validators_fee__is_refused(world):
    job, terms = world.accepted(world.terms(judged=True))
    cap = terms.budget - terms.validator_fee

    assert refusal(world.escrow.deliver, job, terms.to_abi(), cap + 1, RESULT, sender=world.oracle) == "ChargeTooHigh"
    world.escrow.deliver(job, terms.to_abi(), cap, RESULT, {"from": world.oracle})


def test_deliver__without_a_result__is_refused(world):
    job, terms = world.accepted(world.terms())

    assert refusal(world.escrow.deliver, job, terms.to_abi(), CHARGE, bytes(32), sender=world.oracle) == "EmptyResult"


@pytest.mark.parametrize("charge", [0, BUDGET])
def test_deliver__nothing_or_everything__is_fine(world, charge):
    job, terms = world.accepted(world.terms())

    world.escrow.deliver(job, terms.to_abi(), charge, RESULT, {"from": world.oracle})

    assert (world.credit(world.oracle), world.credit(world.requester)) == (charge, BUDGET - charge)
