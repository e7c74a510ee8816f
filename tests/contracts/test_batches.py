"""Batched deliveries and verdicts: the same as one by one, and no requester can spoil one."""

from __future__ import annotations

import pytest
from brownie import web3
from world import CHARGE, EVIDENCE, RESULT, at, pass_time, refusal, refusal_values

from oracle.jobs.states import State, Tier

BLANK = (True, 0, 0, bytes(32), b"")


def delivery(job, terms, *, charge=CHARGE, result=RESULT, attestation=None):
    return (job, terms.to_abi(), charge, result, attestation is not None, attestation or BLANK)


def picture(world, jobs) -> list:
    """All there is to see of the jobs, and who is owed what."""
    return [
        [
            (
                world.state(job),
                world.tier(job),
                world.escrow.deadlineOf(job),
                tuple(world.escrow.deliveryOf(job)),
                world.nft.ownerOf(job),
                bytes(world.nft.resultOf(job)),
            )
            for job in jobs
        ],
        [world.credit(who) for who in (world.requester, world.oracle, world.validator)],
        world.stake(),
    ]


def assorted(world):
    """Jobs that deliver in every way, and their deliveries."""
    made = []
    for options in ({}, {"bond": 0}, {"judged": True}, {"arbitrated": True}, {"open": True}):
        job, terms = world.accepted(world.terms(**options))
        made.append((job, terms, None))
    job, terms = world.accepted(world.terms(judged=True))
    made.append((job, terms, world.attestation(job, terms, method=2)))
    job = world.create(terms := world.terms())
    made.append((job, terms, None))
    return made


def test_deliver_batch__every_kind__is_as_if_delivered_one_by_one(world):
    jobs = assorted(world)
    second = web3.eth.get_block("latest")["timestamp"] + 100
    snapshot = web3.provider.make_request("evm_snapshot", [])["result"]
    web3.provider.make_request("evm_setAutomine", [False])
    for job, terms, attestation in jobs:
        call = (job, terms.to_abi(), CHARGE, RESULT)
        name = "deliver" if attestation is None else "deliverAttested"
        data = getattr(world.escrow, name).encode_input(*call, *([attestation] if attestation else []))
        fields = {"from": world.oracle.address, "to": world.escrow.address, "data": data, "gas": hex(500_000)}
        web3.provider.make_request("eth_sendTransaction", [fields])
    web3.provider.make_request("evm_setNextBlockTimestamp", [second])
    web3.provider.make_request("evm_mine", [])
    web3.provider.make_request("evm_setAutomine", [True])
    singly = picture(world, [job for job, _, _ in jobs])
    web3.provider.make_request("evm_revert", [snapshot])

    batch = [delivery(job, terms, attestation=attestation) for job, terms, attestation in jobs]
    assert at(second, world.escrow.deliverBatch, batch, sender=world.oracle) is None

    assert picture(world, [job for job, _, _ in jobs]) == singly


def test_deliver_batch__counts_what_it_delivered(world):
    jobs = [world.accepted(world.terms()) for _ in range(3)]

    sent = world.escrow.deliverBatch([delivery(*job) for job in jobs], {"from": world.oracle})

    assert sent.return_value == 3
    assert [event["jobId"] for event in sent.events["JobDelivered"]] == [job for job, _ in jobs]


def test_deliver_batch__spoiled_by_requesters__skips_what_they_spoiled(world):
    """Cancelled, promoted, ended, delivered already, out of time or never there: none stops the others."""
    jobs = {}
    for name in ("unaccepted", "cancelled", "declined", "twice"):
        made = world.terms(bond=0)
        jobs[name] = (world.create(made), made)
    jobs["promoted"] = world.accepted(world.promotable())
    jobs["late"] = world.accepted(world.terms())
    jobs["unknown"] = (999, world.terms())
    world.escrow.cancel(jobs["cancelled"][0], jobs["cancelled"][1].to_abi(), {"from": world.requester})
    world.escrow.reject(jobs["declined"][0], jobs["declined"][1].to_abi(), EVIDENCE, {"from": world.oracle})
    world.escrow.deliver(jobs["twice"][0], jobs["twice"][1].to_abi(), CHARGE, b"\x77" * 32, {"from": world.oracle})
    number, old = jobs["promoted"]
    world.escrow.promote(number, old.to_abi(), 1, EVIDENCE, {"from": world.requester, "value": 1})
    kept = world.accepted(world.promotable())
    pass_time(jobs["late"][1].deliver_by + 1)

    sent = world.escrow.deliverBatch(
        [*(delivery(*job) for job in jobs.values()), delivery(*kept)], {"from": world.oracle}
    )

    assert sent.return_value == 1
    assert world.state(kept[0]) == State.SETTLED
    assert bytes(world.nft.resultOf(jobs["twice"][0])) == b"\x77" * 32
    assert world.state(jobs["late"][0]) == State.ACCEPTED


def test_deliver_batch__promoted_in_front_of_it__is_skipped_under_the_old_terms(world):
    job, old = world.accepted(world.promotable())
    world.escrow.promote(job, old.to_abi(), 1, EVIDENCE, {"from": world.requester, "value": 1})

    sent = world.escrow.deliverBatch([delivery(job, old)], {"from": world.oracle})
    assert sent.return_value == 0
    sent = world.escrow.deliverBatch([delivery(job, old.promoted_to(old.budget + 1))], {"from": world.oracle})
    assert sent.return_value == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"charge": 2_000_000}, "ChargeTooHigh"),
        ({"result": bytes(32)}, "EmptyResult"),
        ({"attestation": BLANK}, "InvalidAttestation"),
    ],
)
def test_deliver_batch__fault_of_the_oracle__reverts_all(world, change, name):
    first, second = world.accepted(world.terms()), world.accepted(world.terms(judged=True))
    batch = [delivery(*first), delivery(*second, **change)]

    assert at(None, world.escrow.deliverBatch, batch, sender=world.oracle) == name
    assert world.state(first[0]) == State.ACCEPTED


def test_deliver_batch__of_another_oracle__is_refused(world):
    batch = [delivery(*world.accepted(world.terms()))]

    met = refusal_values(world.escrow.deliverBatch, batch, sender=world.other_oracle)
    assert met == ("NotAllowed", batch[0][0], world.other_oracle.address)


def test_deliver_batch__with_a_rejecting_attestation__is_refused(world):
    job, terms = world.accepted(world.terms(judged=True))
    rejecting = world.attestation(job, terms, accepted=False)

    met = refusal(world.escrow.deliverBatch, [delivery(job, terms, attestation=rejecting)], sender=world.oracle)
    assert met == "RejectingAttestation"


def test_deliver_batch__same_job_twice__delivers_once(world):
    job, terms = world.accepted(world.terms())

    sent = world.escrow.deliverBatch([delivery(job, terms)] * 2, {"from": world.oracle})

    assert sent.return_value == 1
    assert world.credit(world.oracle) == CHARGE


def test_batches__empty__do_nothing(world):
    assert world.escrow.deliverBatch([], {"from": world.oracle}).return_value == 0
    assert world.escrow.validateBatch([], {"from": world.stranger}).return_value == 0


def test_validate_batch__accepting_and_rejecting__is_as_if_judged_one_by_one(world):
    accepted = world.delivered(world.terms(judged=True))
    refused = world.delivered(world.terms(judged=True))
    contested = world.delivered(world.terms(judged=True, arbitrated=True))
    batch = [
        (job, terms.to_abi(), world.attestation(job, terms, accepted=good))
        for (job, terms), good in ((accepted, True), (refused, False), (contested, False))
    ]

    sent = world.escrow.validateBatch(batch, {"from": world.stranger})

    assert sent.return_value == 3
    assert [world.state(job) for job, _ in (accepted, refused)] == [State.SETTLED, State.REJECTED]
    assert [world.tier(job) for job, _ in (accepted, refused)] == [Tier.STATISTICAL] * 2
    assert tuple(world.escrow.deliveryOf(contested[0]))[:2] == (CHARGE, True)


def test_validate_batch__spoiled_entries__are_skipped(world):
    settled = world.delivered(world.terms(judged=True))
    disputed = world.disputed(world.terms(judged=True, arbitrated=True))
    judged = world.rejected_by_validator(world.terms(judged=True, arbitrated=True))
    waiting = world.accepted(world.terms(judged=True))
    good = world.delivered(world.terms(judged=True))
    signed = {job: world.attestation(job, terms) for job, terms in (settled, disputed, judged, waiting, good)}
    world.escrow.validate(settled[0], settled[1].to_abi(), signed[settled[0]], {"from": world.stranger})
    batch = [(job, terms.to_abi(), signed[job]) for job, terms in (settled, disputed, judged, waiting, good)]

    sent = world.escrow.validateBatch(batch, {"from": world.stranger})

    assert sent.return_value == 1
    assert world.state(good[0]) == State.SETTLED
    assert [event["jobId"] for event in sent.events["JobValidated"]] == [good[0]]


def test_validate_batch__out_of_time__is_skipped(world):
    job, terms = world.delivered(world.terms(judged=True))
    pass_time(world.escrow.deadlineOf(job) + 1)

    sent = world.escrow.validateBatch([(job, terms.to_abi(), world.attestation(job, terms))], {"from": world.stranger})
    assert sent.return_value == 0


def test_validate_batch__forged_verdict__reverts_all(world):
    good, bad = (world.delivered(world.terms(judged=True)) for _ in range(2))
    batch = [
        (good[0], good[1].to_abi(), world.attestation(*good)),
        (bad[0], bad[1].to_abi(), world.attestation(*good)),
    ]

    assert at(None, world.escrow.validateBatch, batch, sender=world.stranger) == "InvalidAttestation"
    assert world.state(good[0]) == State.COMPLETED
