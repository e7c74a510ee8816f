"""Withdrawals signed by an account without gas, handed in by anyone."""

from __future__ import annotations

import pytest
from brownie import Wallet, web3
from eth_account import Account
from world import BUDGET, at, now, refusal, refusal_values, signature

from oracle.jobs.terms import ZERO_ADDRESS

FIELDS = "account:address token:address to:address fee:uint256 nonce:uint256 deadline:uint256"
FEE = 1_000
NEW = "0x00000000000000000000000000000000000A11cE"


@pytest.fixture
def carol(world):
    """A requester with a credit of one budget in either asset, and no gas left to take it out."""
    key = Account.from_key("0x" + "c4" * 32)
    web3.provider.make_request("anvil_impersonateAccount", [key.address])
    web3.provider.make_request("anvil_setBalance", [key.address, hex(10**18)])
    for token in (ZERO_ADDRESS, world.token.address):
        terms = world.terms(requester=key.address, payer=key.address, token=token)
        value = 0
        if token == ZERO_ADDRESS:
            value = BUDGET
        else:
            world.token.mint(key.address, BUDGET, {"from": world.funder})
            assert at(None, world.token.approve, world.escrow.address, BUDGET, sender=key) is None
        assert at(None, world.escrow.createJob, terms.to_abi(), sender=key, value=value) is None
        assert at(None, world.escrow.cancel, world.escrow.jobCount(), terms.to_abi(), sender=key) is None
    web3.provider.make_request("anvil_setBalance", [key.address, "0x0"])
    return key


def wish(key, *, token=ZERO_ADDRESS, to=NEW, fee=0, nonce=0, deadline=2**255, account=None) -> tuple:
    return (account or key.address, token, to, fee, nonce, deadline)


def signed(world, key, request: tuple, **domain) -> bytes:
    names = [word.split(":")[0] for word in FIELDS.split()]
    message = dict(zip(names, request, strict=True))
    return signature(key, world.domain(**domain), message, "Withdrawal", Withdrawal=FIELDS)


@pytest.mark.parametrize("fee", [0, FEE, BUDGET])
def test_withdraw_for__signed__pays_the_recipient_and_credits_the_relayer(world, carol, fee):
    request = wish(carol, fee=fee)

    sent = world.escrow.withdrawFor(request, signed(world, carol, request), {"from": world.stranger})

    assert sent.return_value == BUDGET - fee
    assert web3.eth.get_balance(NEW) == BUDGET - fee
    assert (world.credit(carol), world.credit(world.stranger)) == (0, fee)
    assert dict(sent.events["Withdrawn"]) == {
        "account": carol.address,
        "token": ZERO_ADDRESS,
        "to": NEW,
        "amount": BUDGET - fee,
    }
    told = [dict(event) for event in sent.events["RelayerCredited"]] if fee else []
    relayer = {"account": carol.address, "relayer": world.stranger.address, "token": ZERO_ADDRESS, "fee": fee}
    assert told == ([relayer] if fee else [])


def test_withdraw_for__in_a_token__pays_in_it(world, carol):
    request = wish(carol, token=world.token.address, fee=FEE)

    world.escrow.withdrawFor(request, signed(world, carol, request), {"from": world.stranger})

    assert world.token.balanceOf(NEW) == BUDGET - FEE
    assert world.credit(world.stranger, world.token.address) == FEE
    assert world.credit(carol) == BUDGET


def test_withdraw_for__replayed__is_refused(world, carol):
    request = wish(carol)
    call = (request, signed(world, carol, request))
    world.escrow.withdrawFor(*call, {"from": world.stranger})

    met = refusal_values(world.escrow.withdrawFor, *call, sender=world.stranger)
    assert met == ("InvalidAccountNonce", carol.address, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"to": "0x0000000000000000000000000000000000000bad"},
        {"token": "token"},
        {"fee": FEE},
        {"deadline": 2**254},
    ],
    ids=lambda change: next(iter(change)),
)
def test_withdraw_for__something_else_than_signed__is_refused(world, carol, change):
    if change.get("token"):
        change = {"token": world.token.address}
    call = (wish(carol, **change), signed(world, carol, wish(carol)))

    met = refusal_values(world.escrow.withdrawFor, *call, sender=world.stranger)
    assert met == ("InvalidSignature", carol.address)
    assert world.credit(carol) == BUDGET


def test_withdraw_for__other_chain_contract_or_signer__is_refused(world, carol):
    request = wish(carol)
    for forged in (
        signed(world, carol, request, chainId=1),
        signed(world, carol, request, verifyingContract=world.nft.address),
        signed(world, world.validator, request),
        b"",
    ):
        assert refusal(world.escrow.withdrawFor, request, forged, sender=world.stranger) == "InvalidSignature"


def test_withdraw_for__deadline__holds_to_the_second(world, carol):
    last = now() + 50
    request = wish(carol, deadline=last)
    call = (request, signed(world, carol, request))

    snapshot = web3.provider.make_request("evm_snapshot", [])["result"]
    assert at(last + 1, world.escrow.withdrawFor, *call, sender=world.stranger) == "SignatureExpired"
    web3.provider.make_request("evm_revert", [snapshot])
    assert at(last, world.escrow.withdrawFor, *call, sender=world.stranger) is None


def test_withdraw_for__fee_over_the_credit__is_refused(world, carol):
    request = wish(carol, fee=BUDGET + 1)

    met = refusal_values(world.escrow.withdrawFor, request, signed(world, carol, request), sender=world.stranger)
    assert met == ("FeeTooHigh", BUDGET + 1, BUDGET)


def test_withdraw_for__nowhere_or_nothing__is_refused(world, carol):
    unknown = wish(carol, token=world.nft.address)

    for lost in (ZERO_ADDRESS, world.escrow.address):  # what the escrow sends itself it owes to nobody
        for token in (ZERO_ADDRESS, world.token.address):
            nowhere = wish(carol, to=lost, token=token)
            met = refusal(world.escrow.withdrawFor, nowhere, signed(world, carol, nowhere), sender=world.stranger)
            assert met == "InvalidRecipient"
    met = refusal_values(world.escrow.withdrawFor, unknown, signed(world, carol, unknown), sender=world.stranger)
    assert met == ("NothingToWithdraw", carol.address, world.nft.address)


def test_withdraw_for__nobody__is_refused(world):
    request = wish(None, account=ZERO_ADDRESS)

    assert refusal(world.escrow.withdrawFor, request, b"", sender=world.stranger) == "InvalidSignature"


def test_withdraw_for__contract_account__is_asked_by_erc_1271(world, carol):
    wallet = world.stranger.deploy(Wallet, carol.address)
    terms = world.terms(requester=wallet.address, payer=wallet.address)
    create = world.escrow.createJob.encode_input(terms.to_abi())
    wallet.run(world.escrow, create, {"from": world.stranger, "value": BUDGET})
    wallet.run(
        world.escrow,
        world.escrow.cancel.encode_input(world.escrow.jobCount(), terms.to_abi()),
        {"from": world.stranger},
    )
    request = wish(carol, account=wallet.address)
    forged = signed(world, world.validator, request)

    assert refusal(world.escrow.withdrawFor, request, forged, sender=world.stranger) == "InvalidSignature"
    world.escrow.withdrawFor(request, signed(world, carol, request), {"from": world.stranger})
    assert web3.eth.get_balance(NEW) == BUDGET


def test_withdraw_for__recipient_that_reenters__takes_nothing_twice(world, carol):
    wallet = world.stranger.deploy(Wallet, carol.address)
    first, second = wish(carol, to=wallet.address), wish(carol, to=wallet.address, token=world.token.address, nonce=1)
    again = world.escrow.withdrawFor.encode_input(second, signed(world, carol, second))
    wallet.set(2, world.escrow, again, {"from": world.stranger})

    world.escrow.withdrawFor(first, signed(world, carol, first), {"from": world.stranger})

    assert (wallet.reentered(), wallet.refused()) == (0, 1)
    assert world.credit(carol, world.token.address) == BUDGET


def test_withdraw_for__recipient_that_refuses__changes_nothing(world, carol):
    wallet = world.stranger.deploy(Wallet, carol.address)
    wallet.set(1, world.escrow, b"", {"from": world.stranger})
    request = wish(carol, to=wallet.address, fee=FEE)

    call = (request, signed(world, carol, request))
    assert at(None, world.escrow.withdrawFor, *call, sender=world.stranger) == "TransferFailed"
    assert (world.credit(carol), world.credit(world.stranger)) == (BUDGET, 0)
    assert world.escrow.nonces(carol.address) == 0


def test_withdrawal_typehash__is_the_documented_one(world):
    fields = ",".join(" ".join(reversed(word.split(":"))) for word in FIELDS.split())

    assert bytes(world.escrow.WITHDRAWAL_TYPEHASH()) == bytes(web3.keccak(text=f"Withdrawal({fields})"))
