"""The other ways to pay for a job: a permit, an authorisation, somebody else's money, several jobs at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import PhantomToken, SignedToken, Wallet, web3
from eth_abi import encode
from eth_account import Account
from world import BUDGET, at, refusal, refusal_values, refused_field, signature

from oracle.jobs.states import State
from oracle.jobs.terms import ABI_TYPES, ZERO_ADDRESS, Terms

SALT = b"\x0a" * 32
TERMS_FIELDS = (
    "requester:address payer:address oracle:address validator:address arbiter:address token:address budget:uint96 "
    "validatorFee:uint96 bond:uint96 acceptBy:uint32 deliverBy:uint32 challengePeriod:uint32 spec:bytes32 "
    "sealTo:bytes32"
)
PERMIT = "owner:address spender:address value:uint256 nonce:uint256 deadline:uint256"
RECEIVE = "from:address to:address value:uint256 validAfter:uint256 validBefore:uint256 nonce:bytes32"


@pytest.fixture(scope="module")
def alice():
    """A requester whose key we hold."""
    return Account.from_key("0x" + "a1" * 32)


@pytest.fixture(scope="module")
def signed_token(world, alice):
    """A token with permits and authorisations, of which ``alice`` has plenty."""
    token = world.stranger.deploy(SignedToken)
    token.mint(alice.address, 10 * BUDGET, {"from": world.stranger})
    return token


@pytest.fixture(autouse=True)
def unlocked(alice):
    """Anvil sends for ``alice`` without asking for a signature."""
    web3.provider.make_request("anvil_impersonateAccount", [alice.address])
    web3.provider.make_request("anvil_setBalance", [alice.address, hex(10**18)])


def parts(signed: bytes) -> tuple[int, bytes, bytes]:
    """(v, r, s)."""
    return signed[64], signed[:32], signed[32:64]


def terms_message(terms: Terms) -> dict:
    names = [word.split(":")[0] for word in TERMS_FIELDS.split()]
    return dict(zip(names, terms.to_abi(), strict=True))


def order(world, key, terms: Terms, nonce: int, **domain) -> bytes:
    """The requester's signature for :func:`createJobFor`."""
    message = {"terms": terms_message(terms), "nonce": nonce}
    types = {"CreateJob": "terms:Terms nonce:uint256", "Terms": TERMS_FIELDS}
    return signature(key, world.domain(**domain), message, "CreateJob", **types)


def token_domain(token) -> dict:
    return {"name": "Signed", "version": "1", "chainId": web3.eth.chain_id, "verifyingContract": token.address}


# ------------------------------------------------------------------------------------------------ permits


def permit(world, token, key, *, value: int = BUDGET, deadline: int = 2**255, nonce: int = 0) -> tuple:
    message = {"owner": key.address, "spender": world.escrow.address, "value": value, "nonce": nonce}
    return (
        deadline,
        *parts(signature(key, token_domain(token), {**message, "deadline": deadline}, "Permit", Permit=PERMIT)),
    )


def of_alice(world, alice, token, **changes) -> Terms:
    return world.terms(requester=alice.address, payer=alice.address, token=token.address, **changes)


def test_create_job_with_permit__good_permit__locks_the_budget_without_an_approval(world, alice, signed_token):
    terms = of_alice(world, alice, signed_token)

    met = at(None, world.escrow.createJobWithPermit, terms.to_abi(), *permit(world, signed_token, alice), sender=alice)

    assert met is None
    assert signed_token.balanceOf(world.escrow) == BUDGET
    assert signed_token.allowance(alice.address, world.escrow) == 0
    assert world.escrow.matches(1, terms.to_abi())


def test_create_job_with_permit__permit_used_by_a_front_runner__still_creates_the_job(world, alice, signed_token):
    used = permit(world, signed_token, alice)
    signed_token.permit(alice.address, world.escrow, BUDGET, *used, {"from": world.stranger})

    terms = of_alice(world, alice, signed_token)
    assert at(None, world.escrow.createJobWithPermit, terms.to_abi(), *used, sender=alice) is None
    assert signed_token.balanceOf(world.escrow) == BUDGET


@pytest.mark.parametrize("fault", ["value", "deadline", "signer"])
def test_create_job_with_permit__bad_permit__locks_nothing(world, alice, signed_token, fault):
    wrong = {"value": {"value": BUDGET - 1}, "deadline": {"deadline": 1}, "signer": {}}[fault]
    key = world.validator if fault == "signer" else alice
    call = (of_alice(world, alice, signed_token).to_abi(), *permit(world, signed_token, key, **wrong))

    assert refusal(world.escrow.createJobWithPermit, *call, sender=alice) not in ("", None)
    assert world.escrow.jobCount() == 0


def test_create_job_with_permit__token_without_permits__falls_back_on_the_allowance(world):
    terms = world.terms(token=world.token.address)

    world.escrow.createJobWithPermit(terms.to_abi(), 0, 27, SALT, SALT, {"from": world.requester})

    assert world.token.balanceOf(world.escrow) == BUDGET


def test_create_job_with_permit__for_others_or_in_native_currency__is_refused(world):
    blank = (0, 27, SALT, SALT)
    for changes, field in (
        ({"requester": world.stranger.address}, "requester"),
        ({"payer": world.stranger.address}, "payer"),
        ({"token": ZERO_ADDRESS}, "token"),
        ({"spec": bytes(32)}, "spec"),
    ):
        terms = world.terms(**{"token": world.token.address, **changes})
        call = (terms.to_abi(), *blank)
        assert refused_field(world.escrow.createJobWithPermit, *call, sender=world.requester) == field


# ----------------------------------------------------------------------------------------- authorisations


def authorization(world, token, key, terms: Terms, *, bound_to: Terms | None = None, salt=SALT, after=0, before=2**40):
    nonce = bytes(web3.keccak(encode([*ABI_TYPES, "bytes32"], [*(bound_to or terms).to_abi(), salt])))
    message = {
        "from": key.address,
        "to": world.escrow.address,
        "value": terms.budget,
        "validAfter": after,
        "validBefore": before,
        "nonce": nonce,
    }
    signed = signature(key, token_domain(token), message, "ReceiveWithAuthorization", ReceiveWithAuthorization=RECEIVE)
    return (after, before, salt, *parts(signed))


def test_create_job_with_authorization__handed_in_by_anyone__pays_from_the_requester(world, alice, signed_token):
    terms = of_alice(world, alice, signed_token)
    signed = authorization(world, signed_token, alice, terms)

    sent = world.escrow.createJobWithAuthorization(terms.to_abi(), signed, {"from": world.stranger})

    assert sent.events["JobCreated"]["requester"] == alice.address
    assert signed_token.balanceOf(world.escrow) == BUDGET
    assert world.state(1) == State.CREATED
    assert at(None, world.escrow.cancel, 1, terms.to_abi(), sender=alice) is None
    assert world.credit(alice, signed_token.address) == BUDGET


def test_create_job_with_authorization__for_other_terms__is_refused(world, alice, signed_token):
    """Whoever relays it cannot make the payer buy something else."""
    terms = of_alice(world, alice, signed_token)
    signed = authorization(world, signed_token, alice, terms)
    for changes in ({"oracle": world.stranger.address}, {"seal_to": b"x" * 32}, {"spec": b"y" * 32}, {"bond": 0}):
        call = (replace(terms, **changes).to_abi(), signed)
        assert refusal(world.escrow.createJobWithAuthorization, *call, sender=world.stranger)
    assert world.escrow.jobCount() == 0
    other_salt = (*signed[:2], b"\x0b" * 32, *signed[3:])
    assert refusal(world.escrow.createJobWithAuthorization, terms.to_abi(), other_salt, sender=world.stranger)


def test_create_job_with_authorization__taken_straight_to_the_token__moves_nothing(world, alice, signed_token):
    terms = of_alice(world, alice, signed_token)
    after, before, salt, *signed = authorization(world, signed_token, alice, terms)
    nonce = world.escrow.authorizationNonce(terms.to_abi(), salt)
    call = (alice.address, world.escrow.address, BUDGET, after, before, nonce, *signed)

    assert refusal(signed_token.receiveWithAuthorization, *call, sender=world.stranger)


def test_create_job_with_authorization__twice__is_refused_and_another_salt_is_not(world, alice, signed_token):
    terms = of_alice(world, alice, signed_token)
    signed = authorization(world, signed_token, alice, terms)
    world.escrow.createJobWithAuthorization(terms.to_abi(), signed, {"from": world.stranger})

    assert refusal(world.escrow.createJobWithAuthorization, terms.to_abi(), signed, sender=world.stranger)
    again = authorization(world, signed_token, alice, terms, salt=b"\x0b" * 32)
    world.escrow.createJobWithAuthorization(terms.to_abi(), again, {"from": world.stranger})
    assert world.escrow.jobCount() == 2


def test_create_job_with_authorization__another_payer_or_native_currency__is_refused(world, alice, signed_token):
    terms = of_alice(world, alice, signed_token)
    signed = authorization(world, signed_token, alice, terms)
    for changes, field in (
        ({"requester": world.stranger.address}, "payer"),
        ({"token": ZERO_ADDRESS}, "token"),
        ({"spec": bytes(32)}, "spec"),
    ):
        call = (replace(terms, **changes).to_abi(), signed)
        assert refused_field(world.escrow.createJobWithAuthorization, *call, sender=world.stranger) == field


def test_create_job_with_authorization__token_that_only_pretends__is_refused(world, alice):
    token = world.stranger.deploy(PhantomToken)
    terms = of_alice(world, alice, token)

    met = refusal_values(
        world.escrow.createJobWithAuthorization, terms.to_abi(), (0, 2**40, SALT, 27, SALT, SALT), sender=world.stranger
    )

    assert met == ("InexactTransfer", token.address, 0, BUDGET)


def test_authorization_nonce__any_terms__is_the_documented_hash(world):
    terms = world.terms()

    expected = bytes(web3.keccak(encode([*ABI_TYPES, "bytes32"], [*terms.to_abi(), SALT])))
    assert bytes(world.escrow.authorizationNonce(terms.to_abi(), SALT)) == expected


# -------------------------------------------------------------------------------------- somebody else pays


def test_create_job_for__signed_by_the_requester__sponsor_pays_and_gets_the_refund(world, alice):
    terms = world.terms(requester=alice.address, payer=world.sponsor.address)
    signed = order(world, alice, terms, 0)

    world.escrow.createJobFor(terms.to_abi(), 0, signed, {"from": world.sponsor, "value": BUDGET})

    assert world.escrow.nonces(alice.address) == 1
    assert at(None, world.escrow.cancel, 1, terms.to_abi(), sender=alice) is None
    assert (world.credit(world.sponsor), world.credit(alice)) == (BUDGET, 0)


def test_create_job_for__in_a_token__takes_it_from_the_sponsor(world, alice):
    world.token.mint(world.sponsor, BUDGET, {"from": world.sponsor})
    world.token.approve(world.escrow, BUDGET, {"from": world.sponsor})
    terms = world.terms(requester=alice.address, payer=world.sponsor.address, token=world.token.address)

    world.escrow.createJobFor(terms.to_abi(), 0, order(world, alice, terms, 0), {"from": world.sponsor})

    assert world.token.balanceOf(world.escrow) == BUDGET
    assert world.token.balanceOf(world.sponsor) == 0


def test_create_job_for__replayed__is_refused(world, alice):
    terms = world.terms(requester=alice.address, payer=world.sponsor.address)
    call = (terms.to_abi(), 0, order(world, alice, terms, 0))
    world.escrow.createJobFor(*call, {"from": world.sponsor, "value": BUDGET})

    met = refusal_values(world.escrow.createJobFor, *call, sender=world.sponsor, value=BUDGET)
    assert met == ("InvalidAccountNonce", alice.address, 1)


def test_create_job_for__keys_of_nonces__do_not_wait_for_each_other(world, alice):
    for nonce in (7 << 64, 3 << 64, 0, (7 << 64) + 1):
        terms = world.terms(requester=alice.address, payer=world.sponsor.address)
        signed = order(world, alice, terms, nonce)
        world.escrow.createJobFor(terms.to_abi(), nonce, signed, {"from": world.sponsor, "value": BUDGET})

    assert world.escrow.jobCount() == 4
    assert world.escrow.nonces["address,uint192"](alice.address, 7) == (7 << 64) + 2


@pytest.mark.parametrize("fault", ["terms", "nonce", "chain", "contract", "signer", "cut", "empty"])
def test_create_job_for__signature_over_something_else__is_refused(world, alice, fault):
    terms = world.terms(requester=alice.address, payer=world.sponsor.address)
    signed = {
        "terms": lambda: order(world, alice, replace(terms, budget=BUDGET - 1), 0),
        "nonce": lambda: order(world, alice, terms, 1),
        "chain": lambda: order(world, alice, terms, 0, chainId=1),
        "contract": lambda: order(world, alice, terms, 0, verifyingContract=world.nft.address),
        "signer": lambda: order(world, world.validator, terms, 0),
        "cut": lambda: order(world, alice, terms, 0)[:64],
        "empty": lambda: b"",
    }[fault]()

    met = refusal_values(world.escrow.createJobFor, terms.to_abi(), 0, signed, sender=world.sponsor, value=BUDGET)

    assert met == ("InvalidSignature", alice.address)
    assert world.escrow.nonces(alice.address) == 0


def test_create_job_for__by_anybody_but_the_payer__is_refused(world, alice):
    terms = world.terms(requester=alice.address, payer=world.sponsor.address)
    call = (terms.to_abi(), 0, order(world, alice, terms, 0))

    assert refused_field(world.escrow.createJobFor, *call, sender=world.stranger, value=BUDGET) == "payer"


def test_create_job_for__contract_requester__is_asked_by_erc_1271(world, alice):
    wallet = world.stranger.deploy(Wallet, alice.address)
    terms = world.terms(requester=wallet.address, payer=world.sponsor.address)
    good, bad = order(world, alice, terms, 0), order(world, world.validator, terms, 0)

    call = (terms.to_abi(), 0, bad)
    assert refusal(world.escrow.createJobFor, *call, sender=world.sponsor, value=BUDGET) == "InvalidSignature"
    world.escrow.createJobFor(terms.to_abi(), 0, good, {"from": world.sponsor, "value": BUDGET})
    assert world.state(1) == State.CREATED


def test_create_job_for__requester_zero__is_refused(world):
    terms = world.terms(requester=ZERO_ADDRESS, payer=world.sponsor.address)

    met = refusal(world.escrow.createJobFor, terms.to_abi(), 0, b"", sender=world.sponsor, value=BUDGET)
    assert met == "InvalidSignature"


def test_create_job_typehash__is_the_documented_one(world):
    fields = ",".join(" ".join(reversed(word.split(":"))) for word in TERMS_FIELDS.split())

    expected = web3.keccak(text=f"CreateJob(Terms terms,uint256 nonce)Terms({fields})")
    assert bytes(world.escrow.CREATE_JOB_TYPEHASH()) == bytes(expected)


# ------------------------------------------------------------------------------------- several jobs at once


def test_create_jobs__several__are_as_if_created_one_by_one(world):
    several = [world.terms(budget=BUDGET + i) for i in range(3)]
    total = sum(terms.budget for terms in several)

    sent = world.escrow.createJobs([t.to_abi() for t in several], {"from": world.requester, "value": total})

    assert sent.return_value == 1
    assert [event["jobId"] for event in sent.events["JobCreated"]] == [1, 2, 3]
    assert all(world.escrow.matches(i + 1, terms.to_abi()) for i, terms in enumerate(several))
    assert web3.eth.get_balance(world.escrow.address) == total
    for job, terms in enumerate(several, 1):
        world.escrow.cancel(job, terms.to_abi(), {"from": world.requester})
    assert world.credit(world.requester) == total


def test_create_jobs__in_a_token__makes_one_transfer(world):
    several = [world.terms(token=world.token.address).to_abi() for _ in range(3)]

    sent = world.escrow.createJobs(several, {"from": world.requester})

    assert len(sent.events["Transfer"]) == 1
    assert world.token.balanceOf(world.escrow) == 3 * BUDGET


@pytest.mark.parametrize("value", [0, 2 * BUDGET - 1, 2 * BUDGET + 1])
def test_create_jobs__other_value_than_the_sum__is_refused(world, value):
    several = [world.terms().to_abi() for _ in range(2)]

    met = refusal_values(world.escrow.createJobs, several, sender=world.requester, value=value)
    assert met == ("WrongValue", value, 2 * BUDGET)


def test_create_jobs__one_wrong__creates_none(world):
    for changes, field in (
        ({"requester": world.stranger.address}, "requester"),
        ({"payer": world.stranger.address}, "payer"),
        ({"token": world.token.address}, "token"),
        ({"spec": bytes(32)}, "spec"),
    ):
        several = [world.terms().to_abi(), world.terms(**changes).to_abi()]
        met = refused_field(world.escrow.createJobs, several, sender=world.requester, value=2 * BUDGET)
        assert met == field
    assert world.escrow.jobCount() == 0


def test_create_jobs__none__creates_none_and_keeps_nothing(world):
    assert at(None, world.escrow.createJobs, [], sender=world.requester) is None
    assert refusal(world.escrow.createJobs, [], sender=world.requester, value=1) == "WrongValue"
    assert world.escrow.jobCount() == 0


# -------------------------------------------------------------------------------------------- dirty words


@pytest.mark.parametrize("word", range(12))
def test_create_job__dirty_upper_bits__are_refused(world, word):
    """Terms are hashed as they lie in calldata: a second encoding of the same terms must not make a job."""
    terms = world.terms(judged=True, arbitrated=True)
    data = bytearray(bytes.fromhex(world.escrow.createJob.encode_input(terms.to_abi())[2:]))
    data[4 + 32 * word] |= 0x80
    before = world.escrow.jobCount()
    call = {"from": world.requester.address, "to": world.escrow.address, "value": hex(BUDGET)}

    answer = web3.provider.make_request("eth_call", [{**call, "data": "0x" + bytes(data).hex()}, "latest"])

    assert "error" in answer
    assert world.escrow.jobCount() == before


def test_cancel__dirty_upper_bits__match_no_job(world):
    job = world.create(terms := world.terms())
    data = bytearray(bytes.fromhex(world.escrow.cancel.encode_input(job, terms.to_abi())[2:]))
    data[4 + 32] |= 0x80  # the first word of the terms follows the job id
    call = {"from": world.requester.address, "to": world.escrow.address, "data": "0x" + bytes(data).hex()}

    assert "error" in web3.provider.make_request("eth_call", [call, "latest"])
