from __future__ import annotations

from dataclasses import replace

import pytest

from oracle.jobs.errors import InputError, PolicyDenied
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.policy import charge_for, check_spec, check_terms

REQUESTER, JUDGE = "0x" + "33" * 20, "0x" + "44" * 20
CONFIG = NodeConfig(price_base=1_000, price_per_shot=10, max_bond=500, margin_seconds=5)
TERMS = Terms(
    REQUESTER,
    REQUESTER,
    ZERO_ADDRESS,
    ZERO_ADDRESS,
    ZERO_ADDRESS,
    ZERO_ADDRESS,
    12_000,
    0,
    100,
    50,
    200,
    0,
    b"s" * 32,
    b"k" * 32,
)
SPEC = normalise(
    {"budget": {"amount": 12_000}, "quantum": {"shots": 1_000}},
    requester=f"did:pkh:eip155:31337:{REQUESTER}",
    circuit="ipfs://f01551220" + "00" * 32,
)


def test_check_terms__good_ones__pass():
    check_terms(TERMS, CONFIG, now=100, free_stake=100)
    check_terms(
        replace(TERMS, validator=JUDGE), replace(CONFIG, trusted_validators=frozenset({JUDGE})), now=100, free_stake=100
    )


@pytest.mark.parametrize(
    ("changes", "now", "stake", "code"),
    [
        ({"token": JUDGE}, 100, 100, "token_not_taken"),
        ({"validator": JUDGE}, 100, 100, "validator_not_trusted"),
        ({"arbiter": JUDGE}, 100, 100, "arbiter_not_trusted"),
        ({}, 100, 99, "bond_too_high"),
        ({"bond": 501}, 100, 10_000, "bond_too_high"),
        ({}, 196, 100, "too_little_time"),
    ],
)
def test_check_terms__what_the_node_does_not_take__says_why(changes, now, stake, code):
    with pytest.raises(PolicyDenied) as caught:
        check_terms(replace(TERMS, **changes), CONFIG, now=now, free_stake=stake)

    assert caught.value.code == code
    assert len(code) <= 31


def test_check_spec__price_within_the_budget__passes():
    assert charge_for(SPEC, CONFIG) == 11_000
    check_spec(SPEC, TERMS, CONFIG, chain_id=31337)
    check_spec(SPEC, replace(TERMS, validator_fee=1_000), CONFIG, chain_id=31337)


@pytest.mark.parametrize(
    ("changes", "chain_id", "code"),
    [
        ({"requester": JUDGE}, 31337, "requester_mismatch"),
        ({}, 1, "requester_mismatch"),
        ({"budget": 12_001}, 31337, "budget_mismatch"),
        ({"validator_fee": 1_001}, 31337, "budget_too_low"),
    ],
)
def test_check_spec__not_what_the_chain_says__is_denied(changes, chain_id, code):
    with pytest.raises(PolicyDenied) as caught:
        check_spec(SPEC, replace(TERMS, **changes), CONFIG, chain_id=chain_id)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("asked", "least", "validator", "taken"),
    [
        (0.5, 0.99, JUDGE, False),
        (0.5, 0.99, ZERO_ADDRESS, True),
        (0.5, None, JUDGE, True),
        (0.99, 0.99, JUDGE, True),
        (None, 0.99, JUDGE, True),
    ],
    ids=["a coin decides", "nobody judges", "the operator does not mind", "as asked", "left out"],
)
def test_check_spec__validator_that_may_reject_what_is_right__is_denied(asked, least, validator, taken):
    spec = {**SPEC, "validation": {**SPEC["validation"], **({"confidence": asked} if asked else {})}}
    terms, config = replace(TERMS, validator=validator), replace(CONFIG, min_confidence=least)
    if taken:
        return check_spec(spec, terms, config, chain_id=31337)
    with pytest.raises(PolicyDenied, match="an honest result would be rejected once in 2") as caught:
        check_spec(spec, terms, config, chain_id=31337)
    assert caught.value.code == "confidence_too_low"


@pytest.mark.parametrize(
    "changes", [{"workers": 0}, {"poll_seconds": 0}, {"price_base": -1}, {"confirmations": -1}, {"max_jobs_at_once": 0}]
)
def test_node_config__absurd_numbers__are_refused(changes):
    with pytest.raises(InputError) as caught:
        NodeConfig(**changes)

    assert caught.value.field in changes


def test_confirmations_on__local_chain__needs_none():
    assert NodeConfig().confirmations_on(31337) == 0
    assert NodeConfig().confirmations_on(1) is None
    assert NodeConfig(confirmations=3).confirmations_on(31337) == 3
