from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.chain.history import fetch_job
from oracle.chain.localnet import advance_time
from oracle.jobs.errors import ChainError
from oracle.jobs.states import State
from oracle.requester.money import cancel_job, claim, end_job, withdraw
from oracle.requester.submit import Parties, prepare, submit

BUDGET = 10**16


@pytest.fixture
def job(world, store, draft):
    """A function that submits a job and answers its history."""

    def make(parties: Parties | None = None, **sections):
        fields = {**draft.fields, "timeouts": {"accept_seconds": 100, "deliver_seconds": 100}, **sections}
        parties = parties or Parties(oracle=world.oracle.address)
        ready = prepare(
            replace(draft, fields=fields),
            parties,
            chain=world.chain,
            requester=world.requester.address,
            key=world.key,
        )
        done = submit(ready, chain=world.chain, store=store, sender=world.requester)
        return fetch_job(world.chain, done.job_id)

    return make


def again(world, job):
    return fetch_job(world.chain, job.job_id)


def credit(world, sender):
    return world.chain.escrow.credit_of(sender.address)


def test_cancel_job__nobody_accepted__payer_is_credited(world, job):
    before = credit(world, world.requester)

    done = cancel_job(job(), chain=world.chain, sender=world.requester)

    assert (done.job.state, done.job.to_payer) == (State.CANCELLED, BUDGET)
    assert credit(world, world.requester) == before + BUDGET


def test_cancel_job__by_a_stranger_or_after_acceptance__sends_nothing(world, job):
    mine = job()
    before = world.block()
    with pytest.raises(ChainError, match="NotAllowed"):
        cancel_job(mine, chain=world.chain, sender=world.stranger)
    assert world.block() == before

    world.oracle.send(world.chain.escrow.accept(mine.job_id, mine.terms))
    before = world.block()
    with pytest.raises(ChainError, match="is Accepted and cannot be cancelled"):
        cancel_job(again(world, mine), chain=world.chain, sender=world.requester)
    assert world.block() == before


def test_end_job__before_the_deadline__says_when_and_sends_nothing(world, job):
    mine = job()
    before = world.block()

    assert claim(mine, world.chain) is None
    with pytest.raises(
        ChainError, match=r"has time until \d{4}-\d\d-\d\d .* UTC; try again after that, or use"
    ) as caught:
        end_job(mine, chain=world.chain, sender=world.requester)

    assert caught.value.field == "job"
    assert world.block() == before


def test_end_job__nobody_accepted_in_time__budget_comes_back_whoever_asks(world, job):
    mine = job()
    advance_time(world.chain.w3, 101)
    before = credit(world, world.requester)

    assert claim(mine, world.chain) == "refund"
    done = end_job(mine, chain=world.chain, sender=world.stranger)

    assert (done.job.state, done.job.to_payer) == (State.EXPIRED, BUDGET)
    assert credit(world, world.requester) == before + BUDGET


def test_end_job__oracle_did_not_deliver__bond_comes_as_well(world, job):
    mine = job(Parties(oracle=world.oracle.address, bond=500))
    world.oracle.send(world.chain.escrow.accept(mine.job_id, mine.terms))
    advance_time(world.chain.w3, 201)
    before = credit(world, world.requester)

    done = end_job(again(world, mine), chain=world.chain, sender=world.requester)

    assert (done.job.state, done.job.slashed) == (State.EXPIRED, 500)
    assert credit(world, world.requester) == before + BUDGET + 500


def test_end_job__delivered_and_its_period_over__is_settled(world, job):
    mine = job(
        Parties(oracle=world.oracle.address, arbiter=world.stranger.address),
        timeouts={"challenge_seconds": 50},
        settlement={"release_on": "challenge"},
    )
    world.oracle.send(world.chain.escrow.deliver(mine.job_id, mine.terms, 300, b"r" * 32))
    delivered = again(world, mine)
    assert claim(delivered, world.chain) is None
    with pytest.raises(ChainError, match="is Completed and has time until"):
        end_job(delivered, chain=world.chain, sender=world.requester)
    advance_time(world.chain.w3, 51)

    assert claim(delivered, world.chain) == "settle"
    done = end_job(delivered, chain=world.chain, sender=world.requester)

    assert (done.job.state, done.job.to_oracle, done.job.to_payer) == (State.SETTLED, 300, BUDGET - 300)


def test_end_job__ended_already__sends_nothing(world, job):
    ended = cancel_job(job(), chain=world.chain, sender=world.requester).job
    before = world.block()

    assert claim(ended, world.chain) is None
    with pytest.raises(ChainError, match="is Cancelled and holds no money"):
        end_job(ended, chain=world.chain, sender=world.requester)

    assert world.block() == before


def test_withdraw__something_owed__leaves_the_escrow_once(world, job):
    cancel_job(job(), chain=world.chain, sender=world.requester)
    owed, target = credit(world, world.requester), "0x" + "ab" * 19 + "01"
    target = world.chain.w3.to_checksum_address(target)
    before = world.chain.balance(target)

    done = withdraw(target, chain=world.chain, sender=world.requester)

    assert done.amount == owed >= BUDGET
    assert world.chain.balance(target) == before + owed
    blocks = world.block()
    with pytest.raises(ChainError, match="nothing is owed to"):
        withdraw(target, chain=world.chain, sender=world.requester)
    assert world.block() == blocks
