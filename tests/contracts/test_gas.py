"""The gas goals of the design: whole transactions, steady state (every storage slot that stays is warm already)."""

from __future__ import annotations

from world import CHARGE, RESULT, pass_time


def test_gas__of_the_main_path__is_within_the_goals(world):
    world.delivered(world.terms(bond=0))  # the first of everything also pays for slots that stay
    terms = world.terms(bond=0, spec=b"\x01" * 32, seal_to=b"\x02" * 32)

    created = world.escrow.createJob(terms.to_abi(), {"from": world.requester, "value": terms.budget})
    accepted = world.escrow.accept(2, terms.to_abi(), {"from": world.oracle})
    delivered = world.escrow.deliver(2, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})

    assert created.gas_used <= 62_000
    assert accepted.gas_used <= 45_000
    assert delivered.gas_used <= 100_000


def test_gas__of_acceptance_with_a_bond__is_within_the_goal(world):
    world.accepted(world.terms())
    job = world.create(terms := world.terms())

    assert world.escrow.accept(job, terms.to_abi(), {"from": world.oracle}).gas_used <= 45_000


def test_gas__of_a_refund__is_within_the_goal(world):
    world.delivered(world.terms())
    job = world.create(terms := world.terms())
    pass_time(terms.accept_by + 1)

    assert world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger}).gas_used <= 42_000
