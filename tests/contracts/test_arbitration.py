"""The shipped arbiter: a bridge to any ERC-792 arbitrator, and a panel that is one."""

from __future__ import annotations

import pytest
from brownie import ArbitrationBridge, PanelArbitrator, Wallet, web3
from world import BUDGET, CHARGE, EVIDENCE, at, pass_time, refusal, refusal_values

from oracle.jobs.states import State, Tier

COST = 1_001
WAITING, SOLVED = 0, 2


@pytest.fixture
def panel(world, accounts):
    """Two of three decide."""
    return world.funder.deploy(PanelArbitrator, [accounts[i] for i in (7, 8, 9)], 2, COST)


@pytest.fixture
def bridge(world, panel):
    """The arbiter that puts jobs before the panel."""
    return world.funder.deploy(ArbitrationBridge, world.escrow, panel, b"court 1", "ipfs://rules")


def before_the_bridge(world, bridge):
    return world.disputed(world.terms(arbiter=bridge.address, challenge_period=500))


def requested(world, bridge):
    job, terms = before_the_bridge(world, bridge)
    bridge.request(job, terms.to_abi(), {"from": world.requester, "value": COST})
    return job, terms


def decided(world, bridge, panel, accounts, ruling):
    job, terms = requested(world, bridge)
    for member in accounts[7:9]:
        panel.vote(0, ruling, {"from": member})
    return job, terms


@pytest.mark.parametrize(("ruling", "percent"), [(1, 0), (2, 1), (51, 50), (101, 100)])
def test_arbitration__from_dispute_to_payment__follows_the_ruling(world, bridge, panel, accounts, ruling, percent):
    job, terms = decided(world, bridge, panel, accounts, ruling)

    bridge.enforce(job, terms.to_abi(), {"from": world.stranger})

    assert world.state(job) == (State.SETTLED if percent else State.REJECTED)
    assert world.tier(job) == Tier.RULED
    kept = terms.bond * percent // 100
    assert world.credit(world.oracle) == CHARGE * percent // 100 + kept
    assert panel.disputeStatus(0) == SOLVED
    assert panel.currentRuling(0) == ruling


def test_arbitration__refusal_to_rule__ends_as_if_undisputed(world, bridge, panel, accounts):
    job, terms = decided(world, bridge, panel, accounts, 0)

    assert refusal_values(bridge.enforce, job, terms.to_abi(), sender=world.stranger) == ("NoRuling", job)
    pass_time(world.escrow.deadlineOf(job) + 1)
    world.escrow.settle(job, terms.to_abi(), {"from": world.stranger})
    assert (world.state(job), world.tier(job)) == (State.SETTLED, Tier.UNCHALLENGED)
    assert world.credit(world.oracle) == CHARGE


def test_arbitration__ruling_too_late__is_not_enforced(world, bridge, panel, accounts):
    job, terms = decided(world, bridge, panel, accounts, 1)
    pass_time(world.escrow.deadlineOf(job) + 1)

    assert refusal(bridge.enforce, job, terms.to_abi(), sender=world.stranger) == "TooLate"


def test_enforce__twice__pays_once(world, bridge, panel, accounts):
    job, terms = decided(world, bridge, panel, accounts, 101)
    bridge.enforce(job, terms.to_abi(), {"from": world.stranger})

    assert refusal(bridge.enforce, job, terms.to_abi(), sender=world.stranger) == "WrongState"
    assert web3.eth.get_balance(world.escrow.address) == BUDGET + terms.bond


def test_bridge__announces_its_rules_disputes_and_evidence(world, bridge, panel):
    assert bridge.tx.events["MetaEvidence"]["evidence"] == "ipfs://rules"
    job, terms = before_the_bridge(world, bridge)

    sent = bridge.request(job, terms.to_abi(), {"from": world.requester, "value": COST})
    assert dict(sent.events["Dispute"]) == {
        "arbitrator": panel.address,
        "disputeId": 0,
        "metaEvidenceId": 0,
        "evidenceGroupId": job,
    }
    assert sent.events["DisputeCreation"]["arbitrable"] == bridge.address
    told = bridge.submitEvidence(job, "ipfs://proof", {"from": world.oracle}).events["Evidence"]
    assert (told["party"], told["evidenceGroupId"], told["evidence"]) == (world.oracle.address, job, "ipfs://proof")


def test_request__of_a_job_that_is_not_disputed_here__is_refused(world, bridge):
    elsewhere = world.disputed(world.terms(arbitrated=True))
    undisputed = world.delivered(world.terms(arbiter=bridge.address, challenge_period=500))
    job, terms = before_the_bridge(world, bridge)
    altered = terms.promoted_to(terms.budget + 1)
    for number, given in (elsewhere, undisputed, (job, altered), (999, terms)):
        met = refusal_values(bridge.request, number, given.to_abi(), sender=world.stranger, value=COST)
        assert met == ("NotDisputedHere", number)


@pytest.mark.parametrize("value", [0, COST - 1, COST + 1])
def test_request__other_value_than_the_cost__is_refused(world, bridge, value):
    job, terms = before_the_bridge(world, bridge)

    met = refusal_values(bridge.request, job, terms.to_abi(), sender=world.stranger, value=value)
    assert met == ("WrongFee", value, COST)


def test_request__twice__is_refused(world, bridge):
    job, terms = requested(world, bridge)

    met = refusal_values(bridge.request, job, terms.to_abi(), sender=world.stranger, value=COST)
    assert met == ("AlreadyRequested", job)


def test_rule__on_the_bridge_by_anybody_but_the_arbitrator__is_refused(world, bridge):
    requested(world, bridge)

    met = refusal_values(bridge.rule, 0, 101, sender=world.oracle)
    assert met == ("NotArbitrator", world.oracle.address)


def test_rule__of_an_arbitrator_gone_wrong__is_refused(world):
    """An arbitrator that rules on what it was never asked, twice, or beyond its choices."""
    wallet = world.stranger.deploy(Wallet, world.stranger)
    bridge = world.funder.deploy(ArbitrationBridge, world.escrow, wallet, b"", "")
    for dispute in (0, 7):
        assert refusal_values(bridge.rule, dispute, 1, sender=wallet) == ("NoOpenDispute", dispute)


def test_rule__beyond_the_choices_or_again__is_refused(world, bridge, panel, accounts):
    requested(world, bridge)

    assert refusal_values(bridge.rule, 0, 102, sender=panel) == ("UnknownRuling", 102)
    for member in accounts[7:9]:
        panel.vote(0, 5, {"from": member})
    assert refusal_values(bridge.rule, 0, 6, sender=panel) == ("NoOpenDispute", 0)


def test_enforce__with_the_terms_of_another_job__is_refused(world, bridge, panel, accounts):
    job, _ = decided(world, bridge, panel, accounts, 1)
    _, other = before_the_bridge(world, bridge)

    assert refusal(bridge.enforce, job, other.to_abi(), sender=world.stranger) == "TermsMismatch"


# --------------------------------------------------------------------------------------------- the panel


def test_panel__made_badly__is_refused(world, accounts):
    members = [accounts[7], accounts[8]]
    zero = "0x" + "0" * 40
    for args in (([], 0), (members, 0), (members, 3), ([members[0]] * 2, 1), ([members[0], zero], 1)):
        data = PanelArbitrator.deploy.encode_input(*args, COST)
        answer = web3.provider.make_request("eth_call", [{"from": accounts[0].address, "data": data}, "latest"])
        assert answer["error"]["data"] == web3.keccak(text="InvalidPanel()")[:4].to_0x_hex()


def test_vote__below_the_threshold_or_divided__decides_nothing(world, bridge, panel, accounts):
    requested(world, bridge)
    panel.vote(0, 1, {"from": accounts[7]})
    panel.vote(0, 2, {"from": accounts[8]})

    assert panel.disputeStatus(0) == WAITING
    assert (panel.votesFor(0, 1), panel.votesFor(0, 2)) == (1, 1)
    panel.vote(0, 2, {"from": accounts[7]})  # changes its mind
    assert panel.disputeStatus(0) == SOLVED
    assert panel.currentRuling(0) == 2


def test_vote__same_member_twice__counts_once(world, bridge, panel, accounts):
    requested(world, bridge)
    for _ in range(2):
        panel.vote(0, 1, {"from": accounts[7]})

    assert panel.votesFor(0, 1) == 1
    assert panel.disputeStatus(0) == WAITING


def test_vote__by_a_stranger_on_nothing_or_out_of_range__is_refused(world, bridge, panel, accounts):
    requested(world, bridge)

    assert refusal_values(panel.vote, 0, 1, sender=world.stranger) == ("NotMember", world.stranger.address)
    assert refusal_values(panel.vote, 1, 1, sender=accounts[7]) == ("NotOpen", 1)
    assert refusal_values(panel.vote, 0, 102, sender=accounts[7]) == ("UnknownRuling", 102)
    for member in accounts[7:9]:
        panel.vote(0, 1, {"from": member})
    assert refusal_values(panel.vote, 0, 1, sender=accounts[9]) == ("NotOpen", 0)


def test_panel__fee__is_shared_by_those_who_decided(world, bridge, panel, accounts):
    requested(world, bridge)
    panel.vote(0, 3, {"from": accounts[9]})
    panel.vote(0, 1, {"from": accounts[7]})
    panel.vote(0, 1, {"from": accounts[8]})

    assert [panel.earned(accounts[i]) for i in (7, 8, 9)] == [COST // 2, COST - COST // 2, 0]
    before = web3.eth.get_balance(world.stranger.address)
    panel.withdraw(world.stranger, {"from": accounts[7]})
    panel.withdraw(world.stranger, {"from": accounts[8]})
    assert web3.eth.get_balance(world.stranger.address) - before == COST
    assert web3.eth.get_balance(panel.address) == 0
    assert refusal_values(panel.withdraw, accounts[7], sender=accounts[7]) == ("NothingEarned", accounts[7].address)


def test_panel__recipient_that_refuses__keeps_the_earnings(world, bridge, panel, accounts):
    wallet = world.stranger.deploy(Wallet, world.stranger)
    wallet.set(1, panel, b"", {"from": world.stranger})
    requested(world, bridge)
    for member in accounts[7:9]:
        panel.vote(0, 1, {"from": member})

    assert at(None, panel.withdraw, wallet.address, sender=accounts[7]) == "TransferFailed"
    assert panel.earned(accounts[7]) == COST // 2


def test_create_dispute__wrong_fee_or_choices__is_refused(world, panel):
    for value in (0, COST - 1, COST + 1):
        met = refusal_values(panel.createDispute, 2, b"", sender=world.stranger, value=value)
        assert met == ("WrongFee", value, COST)
    for choices in (0, 2**32 - 1):
        met = refusal_values(panel.createDispute, choices, b"", sender=world.stranger, value=COST)
        assert met == ("UnknownRuling", choices)


def test_panel__has_no_appeal(world, bridge, panel):
    requested(world, bridge)

    assert refusal(panel.appeal, 0, b"", sender=world.requester) == "NoAppeal"
    assert tuple(panel.appealPeriod(0)) == (0, 0)
    assert panel.appealCost(0, b"") == 2**256 - 1
    assert panel.arbitrationCost(b"") == COST


def test_evidence__on_the_escrow__is_the_parties_alone(world):
    job, terms = world.disputed(world.terms(judged=True, arbitrated=True))

    for party in (world.requester, world.oracle):
        sent = world.escrow.submitEvidence(job, terms.to_abi(), EVIDENCE, {"from": party})
        assert dict(sent.events["JobEvidence"]) == {
            "jobId": job,
            "party": party.address,
            "evidence": "0x" + EVIDENCE.hex(),
        }
    met = refusal_values(world.escrow.submitEvidence, job, terms.to_abi(), EVIDENCE, sender=world.stranger)
    assert met == ("NotAllowed", job, world.stranger.address)
