from __future__ import annotations

from dataclasses import fields, replace

import pytest
from eth_utils import to_checksum_address
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.chain.artifacts import artifact
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.jobs.errors import InputError
from oracle.jobs.terms import ABI_TYPES, ZERO_ADDRESS, Terms

ADDRESSES = st.binary(min_size=20, max_size=20).map(to_checksum_address)
DIGESTS = st.binary(min_size=32, max_size=32)
ANY_TERMS = st.builds(
    Terms,
    *[ADDRESSES] * 6,
    *[st.integers(0, 2**96 - 1)] * 3,
    *[st.integers(0, 2**32 - 1)] * 3,
    *[DIGESTS] * 2,
)
EXAMPLE = Terms(*[ZERO_ADDRESS] * 6, 10, 1, 5, 100, 200, 60, b"\1" * 32, b"\2" * 32)


@pytest.fixture(scope="module")
def chain() -> ChainClient:
    w3 = in_process_chain()
    return ChainClient(w3, deploy(w3, dev_accounts(1)[0]))


@given(ANY_TERMS)
def test_from_json__what_to_json_wrote__is_the_same(terms):
    assert Terms.from_json(terms.to_json()) == terms


@given(ANY_TERMS)
def test_from_abi__tuple_or_mapping__is_the_same(terms):
    names = [component["name"] for component in _create_job_input()]

    assert Terms.from_abi(terms.to_abi()) == terms
    assert Terms.from_abi(dict(zip(names, terms.to_abi(), strict=True))) == terms


@given(ANY_TERMS, ANY_TERMS)
def test_hash__terms_that_differ_in_one_field__differs(terms, other):
    for field in fields(Terms):
        changed = replace(terms, **{field.name: getattr(other, field.name)})
        assert (changed.hash() == terms.hash()) == (changed == terms)


def test_abi_types__against_the_compiled_contract__are_the_same_in_order():
    assert tuple(component["type"] for component in _create_job_input()) == ABI_TYPES


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=ANY_TERMS, arbitrated=st.booleans())
def test_hash__terms_of_a_created_job__match_on_chain_and_changed_ones_do_not(chain, drawn, arbitrated):
    account = dev_accounts(1)[0]
    now = chain.block().timestamp
    terms = replace(
        drawn,
        requester=account.address,
        payer=account.address,
        token=ZERO_ADDRESS,
        budget=1 + drawn.budget % 10**9,
        validator=ZERO_ADDRESS,
        arbiter=to_checksum_address(b"\1" + bytes.fromhex(drawn.arbiter[4:])) if arbitrated else ZERO_ADDRESS,
        oracle=to_checksum_address(b"\2" + bytes.fromhex(drawn.oracle[4:])),
        validator_fee=0,
        accept_by=now + 100,
        deliver_by=now + 101 + drawn.deliver_by % 10**6,
        challenge_period=1 + drawn.challenge_period % 10**6 if arbitrated else 0,
        spec=b"\1" + drawn.spec[1:],
        seal_to=b"\1" + drawn.seal_to[1:],
    )
    Sender(chain.w3, account).send(chain.escrow.create_job(terms))
    job_id = chain.escrow.job_count()

    assert chain.escrow.matches(job_id, terms)
    assert not chain.escrow.matches(job_id, replace(terms, bond=(terms.bond + 1) % 2**96))
    slot = chain.w3.eth.get_storage_at(chain.escrow.address, _slot_of(chain, job_id))
    assert bytes(slot)[:27] == terms.hash()
    (created,) = chain.job_events(job_id, 0, chain.block().number)
    assert Terms.from_abi(created.args["terms"]) == terms


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_from_json__a_field_missing_or_malformed__is_named(name):
    document = EXAMPLE.to_json()

    with pytest.raises(InputError) as missing:
        Terms.from_json({key: value for key, value in document.items() if key != name})
    assert missing.value.field == f"terms.{name}"

    if not isinstance(getattr(EXAMPLE, name), str):
        with pytest.raises(InputError) as malformed:
            Terms.from_json({**document, name: "0xzz"})
        assert malformed.value.field == f"terms.{name}"


def test_taken_by__open_job__names_the_oracle_and_is_not_open():
    oracle = to_checksum_address(b"\7" * 20)

    taken = EXAMPLE.taken_by(oracle)

    assert EXAMPLE.is_open
    assert not taken.is_open
    assert taken == replace(EXAMPLE, oracle=oracle)


def _create_job_input() -> list[dict]:
    (create,) = [e for e in artifact("JobEscrow")["abi"] if e.get("name") == "createJob"]
    return create["inputs"][0]["components"]


def _slot_of(chain: ChainClient, job_id: int) -> int:
    """Where the contract keeps a job: a mapping, whose own slot is looked for once, by the first job's word."""
    for slot in range(20):
        where = int.from_bytes(chain.w3.keccak(job_id.to_bytes(32, "big") + slot.to_bytes(32, "big")), "big")
        if any(chain.w3.eth.get_storage_at(chain.escrow.address, where)):
            return where
    raise AssertionError("the job is not in storage")
