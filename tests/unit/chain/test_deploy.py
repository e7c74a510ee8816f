from __future__ import annotations

from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy


def test_deploy__on_a_chain__all_three_contracts_answer(world):
    w3 = world.client.w3

    deployment = deploy(w3, world.senders["stranger"].account)

    client = ChainClient(w3, deployment)
    client.check()
    assert deployment.block == client.block().number
    assert client.escrow.job_count() == 0
    assert client.registry.stake_of(world.address("oracle")) == (0, 0)
    assert len({deployment.job_escrow, deployment.oracle_registry, deployment.result_nft}) == 3
    assert all(w3.eth.get_code(a) for a in (deployment.oracle_registry, deployment.result_nft))


def test_deploy__twice__keeps_them_apart(world):
    job_id, terms = world.create()

    again = ChainClient(world.client.w3, deploy(world.client.w3, world.senders["stranger"].account))

    assert again.deployment.job_escrow != world.client.deployment.job_escrow
    assert world.client.escrow.matches(job_id, terms)
    assert not again.escrow.matches(job_id, terms)
