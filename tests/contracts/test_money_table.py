"""The money table of the README, row by row: who gets what, to the wei, in native currency and in a token."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from brownie import web3
from world import BOND, BUDGET, CHARGE, EXTRA, FEE, REPORT, RESULT, RULING, pass_time

from oracle.jobs.states import State, Tier
from oracle.jobs.terms import ZERO_ADDRESS


@dataclass(frozen=True)
class Row:
    """One row: how to get there, and what everybody has then. ``slashed`` is native, the rest in the job's token."""

    name: str
    play: object
    state: State
    payer: int
    oracle: int = 0
    validator: int = 0
    slashed: int = 0
    tier: Tier = Tier.UNVERIFIED
    disputer: tuple = ()  # (who, native amount) of a dispute bond


def cancel(w, t):
    job = w.create(t())
    w.escrow.cancel(job, w.last.to_abi(), {"from": w.requester})
    return job


def reject(w, t):
    job = w.create(t())
    w.escrow.reject(job, w.last.to_abi(), b"busy".ljust(32, b"\0"), {"from": w.oracle})
    return job


def expire(w, t):
    job = w.create(t())
    pass_time(w.last.accept_by + 1)
    w.escrow.claimRefund(job, w.last.to_abi(), {"from": w.stranger})
    return job


def fail(w, t):
    job, terms = w.accepted(t())
    w.escrow.fail(job, terms.to_abi(), b"broken".ljust(32, b"\0"), {"from": w.oracle})
    return job


def expire_accepted(w, t):
    job, terms = w.accepted(t())
    pass_time(terms.deliver_by + 1)
    w.escrow.claimRefund(job, terms.to_abi(), {"from": w.stranger})
    return job


def promoted(then):
    """What ``then`` does to an accepted job, after its promotion."""

    def play(w, t):
        job, terms = w.promoted(t(promotable=True, judged=then is deliver_attested_now))
        then(w, job, terms)
        return job

    return play


def fail_now(w, job, terms):
    w.escrow.fail(job, terms.to_abi(), b"broken".ljust(32, b"\0"), {"from": w.oracle})


def expire_now(w, job, terms):
    pass_time(terms.deliver_by + 1)
    w.escrow.claimRefund(job, terms.to_abi(), {"from": w.stranger})


def deliver_now(w, job, terms):
    w.escrow.deliver(job, terms.to_abi(), CHARGE, RESULT, {"from": w.oracle})


def deliver_attested_now(w, job, terms):
    signed = w.attestation(job, terms, method=1)
    w.escrow.deliverAttested(
        job, terms.to_abi(), terms.budget - terms.validator_fee, RESULT, signed, {"from": w.oracle}
    )


def deliver_at_once(w, t):
    return w.delivered(t())[0]


def deliver_unaccepted(w, t):
    job = w.create(t())
    w.escrow.deliver(job, w.last.to_abi(), CHARGE, RESULT, {"from": w.oracle})
    return job


def deliver_open(w, t):
    return w.delivered(t(open=True))[0]


def deliver_attested(w, t):
    job, terms = w.accepted(t(judged=True))
    signed = w.attestation(job, terms, method=1)
    w.escrow.deliverAttested(job, terms.to_abi(), CHARGE, RESULT, signed, {"from": w.oracle})
    return job


def deliver_attested_unaccepted(w, t):
    job = w.create(t(judged=True))
    signed = w.attestation(job, w.last, method=2)
    w.escrow.deliverAttested(job, w.last.to_abi(), CHARGE, RESULT, signed, {"from": w.oracle})
    return job


def validate_accepting(w, t):
    job, terms = w.delivered(t(judged=True))
    w.escrow.validate(job, terms.to_abi(), w.attestation(job, terms, method=3), {"from": w.stranger})
    return job


def validate_rejecting_final(w, t):
    return w.rejected_by_validator(t(judged=True))[0]


def validate_rejecting_unanswered(w, t):
    job, terms = w.rejected_by_validator(t(judged=True, arbitrated=True))
    assert w.state(job) == State.COMPLETED
    pass_time(w.escrow.deadlineOf(job) + 1)
    w.escrow.settle(job, terms.to_abi(), {"from": w.stranger})
    return job


def silence(w, t, **options):
    job, terms = w.delivered(t(**(options or {"arbitrated": True})))
    pass_time(w.escrow.deadlineOf(job) + 1)
    w.escrow.settle(job, terms.to_abi(), {"from": w.stranger})
    return job


def silent_validator(w, t):
    return silence(w, t, judged=True)


def silence_unaccepted(w, t):
    job = w.create(t(arbitrated=True))
    w.escrow.deliver(job, w.last.to_abi(), CHARGE, RESULT, {"from": w.oracle})
    assert w.stake()[1] == w.last.bond  # a challenge period needs a bond at stake, accepted or not
    pass_time(w.escrow.deadlineOf(job) + 1)
    w.escrow.settle(job, w.last.to_abi(), {"from": w.stranger})
    return job


def rule(share, by_oracle=False, rejected=False):
    def play(w, t):
        disputer = w.oracle if by_oracle else w.requester
        if rejected:
            job, terms = w.rejected_by_validator(t(judged=True, arbitrated=True))
            w.escrow.dispute(job, terms.to_abi(), REPORT, {"from": disputer, "value": terms.bond})
        else:
            job, terms = w.disputed(t(arbitrated=True), by=disputer)
        w.escrow.rule(job, terms.to_abi(), share, {"from": w.arbiter})
        return job

    return play


def silent_arbiter(by_oracle, rejected):
    def play(w, t):
        disputer = w.oracle if by_oracle else w.requester
        if rejected:
            job, terms = w.rejected_by_validator(t(judged=True, arbitrated=True))
            w.escrow.dispute(job, terms.to_abi(), REPORT, {"from": disputer, "value": terms.bond})
        else:
            job, terms = w.disputed(t(arbitrated=True), by=disputer)
        pass_time(w.escrow.deadlineOf(job) + 1)
        w.escrow.settle(job, terms.to_abi(), {"from": w.stranger})
        return job

    return play


def share(amount: int, bps: int) -> int:
    return amount * bps // 10_000


def ruled(name: str, bps: int, by_oracle: bool = False, rejected: bool = False) -> Row:
    """A ruling splits charge and bonds; what rounding leaves goes to the payer's side."""
    fee = FEE if rejected else 0
    to_oracle, kept = share(CHARGE, bps), share(BOND, bps)
    return Row(
        name,
        rule(bps, by_oracle, rejected),
        State.SETTLED if bps else State.REJECTED,
        payer=BUDGET - fee - to_oracle,
        oracle=to_oracle,
        validator=fee,
        slashed=BOND - kept,
        tier=Tier.RULED,
        disputer=(("oracle", kept), ("requester", BOND - kept)),
    )


PAID = {"payer": BUDGET - CHARGE, "oracle": CHARGE}
JUDGED = {"payer": BUDGET - CHARGE - FEE, "oracle": CHARGE, "validator": FEE}
REFUSED = {"payer": BUDGET - FEE, "validator": FEE, "slashed": BOND}
ROWS = (
    Row("created_cancel", cancel, State.CANCELLED, BUDGET),
    Row("created_reject", reject, State.REJECTED, BUDGET),
    Row("created_refund", expire, State.EXPIRED, BUDGET),
    Row("accepted_fail", fail, State.FAILED, BUDGET),
    Row("accepted_refund", expire_accepted, State.EXPIRED, BUDGET, slashed=BOND),
    Row("promoted_fail", promoted(fail_now), State.FAILED, BUDGET + EXTRA),
    Row("promoted_refund", promoted(expire_now), State.EXPIRED, BUDGET + EXTRA, slashed=BOND),
    Row("promoted_delivered", promoted(deliver_now), State.SETTLED, BUDGET + EXTRA - CHARGE, CHARGE),
    Row(
        "promoted_delivered_attested_in_full",
        promoted(deliver_attested_now),
        State.SETTLED,
        0,
        BUDGET + EXTRA - FEE,
        FEE,
        tier=Tier.REPLAYED,
    ),
    Row("delivered_at_once", deliver_at_once, State.SETTLED, **PAID),
    Row("delivered_unaccepted", deliver_unaccepted, State.SETTLED, **PAID),
    Row("delivered_open", deliver_open, State.SETTLED, **PAID),
    Row("delivered_attested", deliver_attested, State.SETTLED, **JUDGED, tier=Tier.REPLAYED),
    Row("delivered_attested_unaccepted", deliver_attested_unaccepted, State.SETTLED, **JUDGED, tier=Tier.CANARY),
    Row("completed_accepting_verdict", validate_accepting, State.SETTLED, **JUDGED, tier=Tier.AGREED),
    Row(
        "completed_rejecting_verdict_final", validate_rejecting_final, State.REJECTED, **REFUSED, tier=Tier.STATISTICAL
    ),
    Row("completed_rejecting_verdict", validate_rejecting_unanswered, State.REJECTED, **REFUSED, tier=Tier.STATISTICAL),
    Row("completed_silence", silence, State.SETTLED, **PAID, tier=Tier.UNCHALLENGED),
    Row("completed_silent_validator", silent_validator, State.SETTLED, **PAID, tier=Tier.UNCHALLENGED),
    Row("completed_silence_unaccepted", silence_unaccepted, State.SETTLED, **PAID, tier=Tier.UNCHALLENGED),
    ruled("ruled_nothing", 0),
    ruled("ruled_one_basis_point", 1),
    ruled("ruled_a_third", 3_333),
    ruled("ruled_everything", 10_000),
    ruled("ruled_for_disputing_oracle", 10_000, by_oracle=True, rejected=True),
    ruled("ruled_against_disputing_oracle", 0, by_oracle=True, rejected=True),
    ruled("ruled_between", 5_000, by_oracle=True, rejected=True),
    ruled("ruled_on_requesters_dispute_of_rejection", 2_500, rejected=True),
    Row(
        "silent_arbiter_requester",
        silent_arbiter(False, False),
        State.SETTLED,
        **PAID,
        tier=Tier.UNCHALLENGED,
        disputer=(("requester", BOND),),
    ),
    Row(
        "silent_arbiter_oracle_after_rejection",
        silent_arbiter(True, True),
        State.REJECTED,
        **REFUSED,
        tier=Tier.STATISTICAL,
        disputer=(("oracle", BOND),),
    ),
)


VARIANTS = {
    "native": (False, {}),
    "token": (True, {}),
    "native_without_bond": (False, {"bond": 0}),
    "token_without_bond": (True, {"bond": 0}),
    "native_without_fee": (False, {"validator_fee": 0}),
}


def in_variant(row: Row, changes: dict) -> Row | None:
    """The row when the terms ask for no bond, or promise no fee; nothing if the row is not about that."""
    if changes.get("bond") == 0:
        if row.play is deliver_open:  # an open job has a bond
            return None
        return replace(row, slashed=0, disputer=())
    if changes.get("validator_fee") == 0 and row.name == "promoted_delivered_attested_in_full":
        return replace(row, oracle=row.oracle + row.validator, validator=0)
    if changes.get("validator_fee") == 0:
        return replace(row, payer=row.payer + row.validator, validator=0) if row.validator else None
    return row


CASES = {
    f"{row.name}-{name}": (changed, in_token, changes)
    for row in ROWS
    for name, (in_token, changes) in VARIANTS.items()
    if (changed := in_variant(row, changes))
}


@pytest.mark.parametrize(("row", "in_token", "changes"), CASES.values(), ids=CASES)
def test_money_table__row__pays_exactly(world, row, in_token, changes):
    token = world.token.address if in_token else ZERO_ADDRESS

    def terms(*, promotable: bool = False, **options):
        world.last = (world.promotable if promotable else world.terms)(token=token, **options, **changes)
        return world.last

    staked, locked = world.stake()
    bystander_terms = world.terms(token=token)
    bystander = world.create(bystander_terms)  # other money in the escrow, which stays where it is
    job = row.play(world, terms)

    assert (world.state(job), world.tier(job)) == (row.state, row.tier)
    assert world.escrow.deadlineOf(job) == 0
    assert tuple(world.escrow.deliveryOf(job)) == (0, False, 0)
    expected = {"requester": {token: row.payer}, "oracle": {token: row.oracle}, "validator": {token: row.validator}}
    for who, amount in (("requester", row.slashed), *row.disputer):
        expected[who][ZERO_ADDRESS] = expected[who].get(ZERO_ADDRESS, 0) + amount
    expected.update(dict.fromkeys(("arbiter", "stranger", "other_oracle", "sponsor", "funder"), {}))
    for who, amounts in expected.items():
        for asset_address in {ZERO_ADDRESS, token}:
            found = world.credit(getattr(world, who), asset_address)
            assert found == amounts.get(asset_address, 0), f"{who} in {asset_address}"
    assert row.payer + row.oracle + row.validator == BUDGET + (EXTRA if row.name.startswith("promoted") else 0)
    assert world.stake() == (staked - row.slashed, locked)
    assert web3.eth.get_balance(world.registry.address) == sum(
        world.stake(oracle)[0] for oracle in (world.oracle, world.other_oracle)
    )
    delivered = row.state not in (State.CANCELLED, State.EXPIRED, State.FAILED) and row.play is not reject
    assert _owner_of(world, job) == (world.requester if delivered else None)
    held = web3.eth.get_balance(world.escrow.address), world.token.balanceOf(world.escrow)
    owed = [sum(world.credit(getattr(world, who), asset) for who in expected) for asset in (ZERO_ADDRESS, world.token)]
    assert held == (owed[0] + (0 if in_token else BUDGET), owed[1] + (BUDGET if in_token else 0))
    world.escrow.cancel(bystander, bystander_terms.to_abi(), {"from": world.requester})
    _everybody_withdraws(world, token)


def _owner_of(world, job: int):
    return None if world.nft.balanceOf(world.requester) == 0 else world.nft.ownerOf(job)


def _everybody_withdraws(world, token):
    """All credits can be taken out, and then nothing is left."""
    validator = web3.eth.account.from_key(world.validator.key)
    for asset in {ZERO_ADDRESS, token}:
        for who in (world.requester, world.oracle):
            if world.credit(who, asset):
                world.escrow.withdraw(asset, who, {"from": who})
        if world.credit(validator, asset):
            _send_raw(world, validator, world.escrow.withdraw.encode_input(asset, validator.address))
    assert web3.eth.get_balance(world.escrow.address) == 0
    assert world.token.balanceOf(world.escrow) == 0


def _send_raw(world, account, data):
    transaction = {
        "to": world.escrow.address,
        "data": data,
        "nonce": web3.eth.get_transaction_count(account.address),
        "gas": 200_000,
        "gasPrice": 10**9,
        "chainId": web3.eth.chain_id,
    }
    sent = web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    assert web3.eth.wait_for_transaction_receipt(sent)["status"] == 1


def test_rule__period__is_the_documented_one(world):
    job, _ = world.disputed(world.terms(arbitrated=True))

    assert world.escrow.deadlineOf(job) == web3.eth.get_block("latest")["timestamp"] + RULING
