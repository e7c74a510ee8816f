"""Every call in every state by every actor: what the small table below does not allow must be refused, by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from brownie import web3
from world import CHARGE, EVIDENCE, EXTRA, PROMOTION_NOTICE, RESULT, World, at, pass_time, refusal

from oracle.jobs.states import TAKEN, State
from oracle.jobs.terms import ZERO_ADDRESS

ACTORS = ("requester", "oracle", "arbiter", "validator", "stranger", "other_oracle")
REASON = b"why".ljust(32, b"\0")
SLOTS_POSITION = 5  # of the mapping of jobs' slots among the contract's variables
MINED = ("requester", "stranger")  # whose refused calls are also mined, to see that they change nothing


@dataclass(frozen=True)
class Situation:
    """A state of a job, and time. ``calls`` allowed in it, each with the actors that may make it."""

    name: str
    reach: object
    allowed: dict


def reach(how, *, late: bool = False, **options):
    def build(world: World):
        terms = world.terms(**options)
        if how == "create":
            job = world.create(terms)
        else:
            job, terms = getattr(world, how)(terms)
        if late:
            pass_time(world.escrow.deadlineOf(job) + 1)
        return job, terms

    return build


def ended(call: str, **options):
    """A job that ``call`` has ended."""

    def build(world: World):
        terms = world.terms(**options)
        job = world.create(terms)
        if call in ("fail", "deliver", "slash"):
            world.escrow.accept(job, terms.to_abi(), {"from": world.oracle})
            terms = terms.taken_by(world.oracle.address)
        if call == "deliver":
            world.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})
        elif call in ("refund", "slash"):
            pass_time(world.escrow.deadlineOf(job) + 1)
            world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger})
        elif call == "cancel":
            world.escrow.cancel(job, terms.to_abi(), {"from": world.requester})
        else:
            getattr(world.escrow, call)(job, terms.to_abi(), REASON, {"from": world.oracle})
        return job, terms

    return build


def refused_delivery(world: World):
    return world.rejected_by_validator(world.terms(judged=True))


def disputed_rejection(world: World):
    job, terms = world.rejected_by_validator(world.terms(judged=True, arbitrated=True))
    world.escrow.dispute(job, terms.to_abi(), EVIDENCE, {"from": world.oracle, "value": terms.bond})
    return job, terms


def promoted(*, late: bool = False, soon: bool = False):
    """A promoted job; ``soon`` before its deadline, or ``late`` after it."""

    def build(world: World):
        job, terms = world.promoted(world.promotable(judged=True, arbitrated=True))
        if late or soon:
            pass_time(world.escrow.deadlineOf(job) + (1 if late else -10))
        return job, terms

    return build


def promotable(*, soon: bool = False):
    """An accepted job with time to promote it, or without any more."""

    def build(world: World):
        job, terms = world.accepted(world.promotable(judged=True, arbitrated=True))
        if soon:
            pass_time(world.escrow.deadlineOf(job) - PROMOTION_NOTICE + 1)
        return job, terms

    return build


def attested(world: World):
    job, terms = world.accepted(world.terms(judged=True))
    signed = world.attestation(job, terms)
    world.escrow.deliverAttested(job, terms.to_abi(), CHARGE, RESULT, signed, {"from": world.oracle})
    return job, terms


def unchallenged(world: World):
    job, terms = world.delivered(world.terms(judged=True, arbitrated=True))
    pass_time(world.escrow.deadlineOf(job) + 1)
    world.escrow.settle(job, terms.to_abi(), {"from": world.stranger})
    return job, terms


def ruled(world: World):
    job, terms = world.disputed(world.terms(arbitrated=True))
    world.escrow.rule(job, terms.to_abi(), 5_000, {"from": world.arbiter})
    return job, terms


ANYONE = frozenset(ACTORS)
ORACLE, REQUESTER, ARBITER = frozenset({"oracle"}), frozenset({"requester"}), frozenset({"arbiter"})
SERVED = frozenset({"requester", "oracle", "validator"})
# Attested deliveries are the oracle's, verdicts anybody's: what counts is the validator's signature.
SITUATIONS = (
    Situation("none", None, {}),
    Situation(
        "created",
        reach("create", judged=True, arbitrated=True),
        {
            "cancel": REQUESTER,
            "accept": ORACLE,
            "reject": ORACLE,
            "deliver": ORACLE,
            "deliverAttested": ORACLE,
            "report": ANYONE,
        },
    ),
    Situation(
        "created_open",
        reach("create", open=True),
        {"cancel": REQUESTER, "accept": {"oracle", "other_oracle"}, "report": ANYONE},
    ),
    Situation(
        "created_late",
        reach("create", late=True, judged=True, arbitrated=True),
        {"cancel": REQUESTER, "reject": ORACLE, "claimRefund": ANYONE, "report": ANYONE},
    ),
    Situation(
        "accepted",
        reach("accepted", judged=True, arbitrated=True),
        {"fail": ORACLE, "deliver": ORACLE, "deliverAttested": ORACLE, "report": ANYONE},
    ),
    Situation(
        "accepted_promotable",
        promotable(),
        {"fail": ORACLE, "deliver": ORACLE, "deliverAttested": ORACLE, "report": ANYONE, "promote": REQUESTER},
    ),
    Situation(
        "accepted_promotable_no_more",
        promotable(soon=True),
        {"fail": ORACLE, "deliver": ORACLE, "deliverAttested": ORACLE, "report": ANYONE},
    ),
    Situation(
        "promoted",
        promoted(),
        {"fail": ORACLE, "deliver": ORACLE, "deliverAttested": ORACLE, "report": ANYONE},
    ),
    Situation(
        "promoted_soon_over",
        promoted(soon=True),
        {"fail": ORACLE, "deliver": ORACLE, "deliverAttested": ORACLE, "report": ANYONE},
    ),
    Situation("promoted_late", promoted(late=True), {"claimRefund": ANYONE, "report": ANYONE}),
    Situation("accepted_open", reach("accepted", open=True), {"fail": ORACLE, "deliver": ORACLE, "report": ANYONE}),
    Situation(
        "created_open_late",
        reach("create", late=True, open=True),
        {"cancel": REQUESTER, "claimRefund": ANYONE, "report": ANYONE},
    ),
    Situation("accepted_late", reach("accepted", late=True, judged=True), {"claimRefund": ANYONE, "report": ANYONE}),
    Situation(
        "completed",
        reach("delivered", judged=True, arbitrated=True),
        {"validate": ANYONE, "dispute": REQUESTER | ORACLE},
    ),
    Situation("completed_without_arbiter", reach("delivered", judged=True), {"validate": ANYONE}),
    Situation("completed_late", reach("delivered", late=True, judged=True, arbitrated=True), {"settle": ANYONE}),
    Situation(
        "completed_rejected",
        reach("rejected_by_validator", judged=True, arbitrated=True),
        {"dispute": REQUESTER | ORACLE},
    ),
    Situation(
        "completed_rejected_late",
        reach("rejected_by_validator", late=True, judged=True, arbitrated=True),
        {"settle": ANYONE},
    ),
    Situation("completed_unjudged", reach("delivered", arbitrated=True), {"dispute": REQUESTER | ORACLE}),
    Situation("completed_unjudged_late", reach("delivered", late=True, arbitrated=True), {"settle": ANYONE}),
    Situation("disputed_after_rejection", disputed_rejection, {"rule": ARBITER, "submitEvidence": SERVED}),
    Situation("disputed", reach("disputed", judged=True, arbitrated=True), {"rule": ARBITER, "submitEvidence": SERVED}),
    Situation(
        "disputed_late",
        reach("disputed", late=True, judged=True, arbitrated=True),
        {"settle": ANYONE, "submitEvidence": SERVED},
    ),
    Situation("settled", ended("deliver"), {}),
    Situation("settled_attested", attested, {}),
    Situation("settled_unchallenged", unchallenged, {}),
    Situation("rejected", ended("reject"), {}),
    Situation("refused", refused_delivery, {}),
    Situation("ruled", ruled, {}),
    Situation("failed", ended("fail"), {}),
    Situation("cancelled", ended("cancel"), {}),
    Situation("expired", ended("refund"), {}),
    Situation("expired_and_slashed", ended("slash"), {}),
)
CALLS = [
    "cancel",
    "accept",
    "reject",
    "fail",
    "claimRefund",
    "deliver",
    "deliverAttested",
    "validate",
    "dispute",
    "rule",
    "settle",
    "report",
    "promote",
    "submitEvidence",
]
STATES = {
    "cancel": {State.CREATED},
    "accept": {State.CREATED},
    "reject": {State.CREATED},
    "fail": TAKEN,
    "claimRefund": TAKEN | {State.CREATED},
    "deliver": TAKEN | {State.CREATED},
    "deliverAttested": TAKEN | {State.CREATED},
    "promote": {State.ACCEPTED},
    "submitEvidence": {State.DISPUTED},
    "validate": {State.COMPLETED},
    "dispute": {State.COMPLETED},
    "rule": {State.DISPUTED},
    "settle": {State.COMPLETED, State.DISPUTED},
    "report": TAKEN | {State.CREATED},
}
PARTIES = {
    "cancel": REQUESTER,
    "accept": ORACLE,
    "reject": ORACLE,
    "fail": ORACLE,
    "deliver": ORACLE,
    "deliverAttested": ORACLE,
    "dispute": REQUESTER | ORACLE,
    "rule": ARBITER,
    "promote": REQUESTER,
    "submitEvidence": SERVED,
}
IN_TIME = {"accept", "fail", "deliver", "deliverAttested", "validate", "dispute", "rule"}
AFTERWARDS = {"claimRefund", "settle"}


def reasons(world: World, call: str, actor: str, job: int, terms) -> set[str]:
    """Names of the errors that would each be right for a refusal; a wrong state rules out the others."""
    if world.state(job) not in STATES[call]:
        return {"WrongState"}
    late = world.escrow.deadlineOf(job) < web3.eth.get_block("latest")["timestamp"]
    found = set()
    if late and call in IN_TIME:
        found.add("TooLate")
    if not late and call in AFTERWARDS:
        found.add("TooEarly")
    if call == "accept" and terms.is_open:
        found |= {"InsufficientStake"}  # only the registered oracles can lock its bond
    elif actor not in PARTIES.get(call, ANYONE) or (terms.is_open and PARTIES.get(call) == ORACLE):
        found.add("NotAllowed")
    notice_from = world.escrow.deadlineOf(job) - PROMOTION_NOTICE
    if call == "promote" and notice_from < web3.eth.get_block("latest")["timestamp"]:
        found.add("TooLate")
    if call == "dispute" and terms.arbiter == ZERO_ADDRESS:
        found.add("InvalidTerms")
    if call in ("validate", "deliverAttested") and terms.validator == ZERO_ADDRESS:
        found.add("InvalidAttestation")
    if call == "validate" and world.escrow.deliveryOf(job)[1]:
        found.add("AlreadyJudged")
    return found


def arguments(world: World, call: str, job: int, terms) -> tuple[tuple, int]:
    """Good arguments for ``call``, and its value in wei."""
    if call == "report":
        return ([job], [int(State.RUNNING)], [EVIDENCE]), 0
    extra = {
        "reject": (REASON,),
        "fail": (REASON,),
        "deliver": (CHARGE, RESULT),
        "deliverAttested": (CHARGE, RESULT, world.attestation(job, terms)),
        "validate": (world.attestation(job, terms),),
        "dispute": (EVIDENCE,),
        "rule": (5_000,),
        "promote": (EXTRA, EVIDENCE),
        "submitEvidence": (EVIDENCE,),
    }.get(call, ())
    return (job, terms.to_abi(), *extra), {"dispute": terms.bond, "promote": EXTRA}.get(call, 0)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
def test_calls__in_every_state_by_every_actor__only_the_table_is_allowed(world, situation):
    job, terms = situation.reach(world) if situation.reach else (999, world.terms(judged=True, arbitrated=True))
    before = slot(world, job), world.escrow.deliveryOf(job), world.money()
    assert any(before[0]) == (situation.reach is not None)
    for call in CALLS:
        args, value = arguments(world, call, job, terms)
        function = getattr(world.escrow, call)
        for actor in ACTORS:
            sender = getattr(world, actor)
            if actor in situation.allowed.get(call, ()):
                data = {"from": sender.address, "to": world.escrow.address, "data": function.encode_input(*args)}
                web3.eth.call({**data, "value": value})  # raises if refused
                continue
            name = refusal(function, *args, sender=sender, value=value)
            assert name in reasons(world, call, actor, job, terms), (call, actor, name)
            if actor in MINED:
                assert at(None, function, *args, sender=sender, value=value) == name
    assert (slot(world, job), world.escrow.deliveryOf(job), world.money()) == before


def slot(world: World, job: int) -> bytes:
    """The job's storage slot as it is."""
    place = web3.keccak(job.to_bytes(32, "big") + SLOTS_POSITION.to_bytes(32, "big"))
    return bytes(web3.eth.get_storage_at(world.escrow.address, int.from_bytes(place, "big")))


@pytest.mark.parametrize("call", [call for call in CALLS if call != "report"])
def test_calls__with_altered_terms__are_refused(world, call):
    from dataclasses import replace

    job = world.create(terms := world.terms(judged=True, arbitrated=True))
    args, value = arguments(world, call, job, terms)
    for changes in (
        {"payer": world.stranger.address},
        {"oracle": world.stranger.address},
        {"requester": world.stranger.address},
        {"arbiter": world.stranger.address},
        {"budget": terms.budget + 1},
        {"bond": 0},
        {"deliver_by": terms.deliver_by + 1},
        {"challenge_period": 0},
        {"seal_to": b"x" * 32},
    ):
        altered = (args[0], replace(terms, **changes).to_abi(), *args[2:])
        for actor in ("requester", "oracle", "stranger"):
            name = refusal(getattr(world.escrow, call), *altered, sender=getattr(world, actor), value=value)
            assert name == "TermsMismatch"
    assert world.state(job) == State.CREATED


@pytest.mark.parametrize("state", [s for s in State if not State.SIMULATED <= s <= State.RUNNING])
def test_report__state_that_is_no_progress__is_refused(world, state):
    job = world.create(world.terms())

    assert refusal(world.escrow.report, [job], [int(state)], [EVIDENCE], sender=world.oracle) == "WrongState"


def test_report__lists_of_different_lengths__are_refused(world):
    job = world.create(world.terms())
    three = ([job, job], [int(State.RUNNING)], [EVIDENCE])

    assert refusal(world.escrow.report, *three, sender=world.oracle) == "LengthMismatch"
    assert refusal(world.escrow.report, [job], [7], [], sender=world.oracle) == "LengthMismatch"


def test_report__by_anyone__names_the_actor_and_stores_nothing(world):
    job = world.create(world.terms())

    sent = world.escrow.report([job], [int(State.QUEUED)], [EVIDENCE], {"from": world.stranger})

    assert dict(sent.events["JobStateChanged"])["actor"] == world.stranger
    assert world.state(job) == State.CREATED
