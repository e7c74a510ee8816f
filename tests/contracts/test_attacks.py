"""One test for each attack the design names, and for each defect seen in peers that could apply here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import FalseToken, FeeToken, Forcer, HookToken, SilentToken, Wallet, web3
from world import BOND, BUDGET, CHARGE, RESULT, pass_time, refusal, refused_field

from oracle.jobs.states import State
from oracle.jobs.terms import ZERO_ADDRESS

TAKE, REFUSE, REENTER, BOMB = range(4)


@pytest.fixture
def wallet(world):
    """A contract account anyone can steer."""
    made = world.stranger.deploy(Wallet, world.stranger.address)
    world.stranger.transfer(made, "1 ether")
    return made


def run(world, wallet, function, *args, value=0):
    """Make ``wallet`` call ``function``."""
    return wallet.run(function._address, function.encode_input(*args), {"from": world.stranger, "value": value})


def test_front_run_delivery__by_anybody_but_the_oracle__is_refused(world):
    for open in (False, True):
        job, terms = world.accepted(world.terms(open=open))
        for thief in (world.stranger, world.other_oracle, world.requester):
            assert refusal(world.escrow.deliver, job, terms.to_abi(), BUDGET, RESULT, sender=thief) == "NotAllowed"


def test_front_run_delivery__on_an_open_job_nobody_accepted__is_refused(world):
    job = world.create(terms := world.terms(open=True))

    for thief in (world.oracle, world.stranger):
        assert refusal(world.escrow.deliver, job, terms.to_abi(), CHARGE, RESULT, sender=thief) == "NotAllowed"


def test_copying_a_result__of_another_oracle__earns_nothing(world):
    world.delivered(world.terms())
    copied = world.create(terms := world.terms(open=True))
    world.escrow.accept(copied, terms.to_abi(), {"from": world.oracle})

    name = refusal(
        world.escrow.deliver,
        copied,
        terms.taken_by(world.oracle.address).to_abi(),
        CHARGE,
        RESULT,
        sender=world.other_oracle,
    )

    assert name == "NotAllowed"


def test_double_refund__is_refused(world):
    job = world.create(terms := world.terms())
    pass_time(terms.accept_by + 1)
    world.escrow.claimRefund(job, terms.to_abi(), {"from": world.stranger})

    for call in ("claimRefund", "cancel"):
        assert refusal(getattr(world.escrow, call), job, terms.to_abi(), sender=world.requester) == "WrongState"
    assert world.credit(world.requester) == BUDGET


def test_refund_after_delivery__is_refused(world):
    job, terms = world.delivered(world.terms())
    waiting, waiting_terms = world.delivered(world.terms(arbitrated=True))
    pass_time(terms.deliver_by + 1)

    for number, its_terms in ((job, terms), (waiting, waiting_terms)):
        assert refusal(world.escrow.claimRefund, number, its_terms.to_abi(), sender=world.requester) == "WrongState"


def test_cancel_in_front_of_a_delivery__after_acceptance__is_refused(world):
    job, terms = world.accepted(world.terms())

    assert refusal(world.escrow.cancel, job, terms.to_abi(), sender=world.requester) == "WrongState"


def test_second_delivery__is_refused_and_the_digest_stays(world):
    job, terms = world.delivered(world.terms(arbitrated=True))

    assert refusal(world.escrow.deliver, job, terms.to_abi(), CHARGE, b"\x99" * 32, sender=world.oracle) == "WrongState"
    assert bytes(world.nft.resultOf(job)) == RESULT


def test_reentrancy__by_a_native_recipient__takes_nothing_twice(world, wallet):
    _job_of(world, wallet)
    again = world.escrow.withdraw.encode_input(ZERO_ADDRESS, wallet)
    wallet.set(REENTER, world.escrow, again, {"from": world.stranger})
    other = world.create(world.terms())  # somebody else's money in the escrow
    before = wallet.balance()

    run(world, wallet, world.escrow.withdraw, ZERO_ADDRESS, wallet.address)

    assert wallet.balance() - before == BUDGET
    assert (wallet.reentered(), wallet.refused()) == (0, 1)
    assert web3.eth.get_balance(world.escrow.address) == BUDGET
    assert world.state(other) == State.CREATED


def _job_of(world, wallet) -> None:
    """A job the contract account paid for and cancelled: it is owed the budget."""
    terms = replace(world.terms(), requester=wallet.address, payer=wallet.address)
    run(world, wallet, world.escrow.createJob, terms.to_abi(), value=BUDGET)
    run(world, wallet, world.escrow.cancel, world.escrow.jobCount(), terms.to_abi())
    assert world.credit(wallet) == BUDGET


@pytest.mark.parametrize("inner", ["createJob", "withdraw"])
def test_reentrancy__by_a_token_hook__changes_nothing(world, wallet, inner):
    token = world.stranger.deploy(HookToken)
    token.mint(wallet, 10 * BUDGET, {"from": world.stranger})
    run(world, wallet, token.approve, world.escrow.address, 10 * BUDGET)
    terms = replace(world.terms(), requester=wallet.address, payer=wallet.address, token=token.address)
    run(world, wallet, world.escrow.createJob, terms.to_abi())
    run(world, wallet, world.escrow.cancel, 1, terms.to_abi())
    calls = {
        "createJob": world.escrow.createJob.encode_input(terms.to_abi()),
        "withdraw": world.escrow.withdraw.encode_input(token, wallet),
    }
    wallet.set(REENTER, world.escrow, calls[inner], {"from": world.stranger})

    run(world, wallet, world.escrow.createJob, terms.to_abi())
    run(world, wallet, world.escrow.withdraw, token.address, wallet.address)

    assert wallet.reentered() == 0
    assert wallet.refused() > 0
    assert token.balanceOf(world.escrow) == BUDGET  # the second job's, nothing more and nothing less
    assert world.credit(wallet, token.address) == 0


def test_nft_receiver__is_never_called__so_it_cannot_block(world, wallet):
    wallet.set(REFUSE, world.escrow, b"", {"from": world.stranger})
    terms = replace(world.terms(), requester=wallet.address, payer=wallet.address)
    run(world, wallet, world.escrow.createJob, terms.to_abi(), value=BUDGET)

    world.escrow.deliver(1, terms.to_abi(), CHARGE, RESULT, {"from": world.oracle})

    assert world.nft.ownerOf(1) == wallet
    assert world.credit(world.oracle) == CHARGE


def test_payee_that_reverts__blocks_nobody_but_itself(world, wallet):
    _job_of(world, wallet)
    wallet.set(REFUSE, world.escrow, b"", {"from": world.stranger})
    world.delivered(world.terms())

    data = world.escrow.withdraw.encode_input(ZERO_ADDRESS, wallet)
    with pytest.raises(Exception, match="revert|typed error"):
        wallet.run(world.escrow, data, {"from": world.stranger})
    world.escrow.withdraw(ZERO_ADDRESS, world.oracle, {"from": world.oracle})
    run(world, wallet, world.escrow.withdraw, ZERO_ADDRESS, world.sponsor.address)  # and it can send elsewhere

    assert world.credit(wallet) == 0


def test_gas_bomb__return_data_of_a_recipient__is_not_copied(world, wallet):
    _job_of(world, wallet)
    wallet.set(BOMB, world.escrow, b"", {"from": world.stranger})

    sent = run(world, wallet, world.escrow.withdraw, ZERO_ADDRESS, wallet.address)

    assert world.credit(wallet) == 0
    assert sent.gas_used < 2_600_000  # the recipient's own memory costs it 2.2 million; a copy would double that


def test_fee_on_transfer_token__is_refused(world):
    token = _token(world, FeeToken)

    name = refusal(world.escrow.createJob, world.terms(token=token.address).to_abi(), sender=world.requester)

    assert name == "InexactTransfer"


def test_token_that_answers_false__is_refused(world):
    token = world.funder.deploy(FalseToken)

    name = refusal(world.escrow.createJob, world.terms(token=token.address).to_abi(), sender=world.requester)

    assert name.startswith(("SafeERC20", "execution reverted"))


def test_token_that_is_no_contract__is_refused(world):
    terms = world.terms(token=world.stranger.address)

    assert refusal(world.escrow.createJob, terms.to_abi(), sender=world.requester)


def test_token_that_answers_nothing__works(world):
    token = _token(world, SilentToken)

    job, _ = world.delivered(world.terms(token=token.address))
    world.escrow.withdraw(token, world.oracle, {"from": world.oracle})

    assert world.state(job) == State.SETTLED
    assert token.balanceOf(world.oracle) == CHARGE


def _token(world, kind):
    token = world.funder.deploy(kind)
    token.mint(world.requester, 10 * BUDGET, {"from": world.funder})
    token.approve(world.escrow, 10 * BUDGET, {"from": world.requester})
    return token


def test_tx_origin__contract_accounts_in_every_role__work(world, wallet):
    world.stranger.transfer(wallet, "1 ether")
    run(world, wallet, world.registry.register, b"k" * 32, b"p" * 32, value=10 * BOND)
    terms = replace(
        world.terms(arbitrated=True),
        requester=wallet.address,
        payer=wallet.address,
        oracle=wallet.address,
    )
    run(world, wallet, world.escrow.createJob, terms.to_abi(), value=BUDGET)
    run(world, wallet, world.escrow.accept, 1, terms.to_abi())
    run(world, wallet, world.escrow.deliver, 1, terms.to_abi(), CHARGE, RESULT)
    run(world, wallet, world.escrow.dispute, 1, terms.to_abi(), b"e" * 32, value=BOND)
    world.escrow.rule(1, terms.to_abi(), 10_000, {"from": world.arbiter})

    assert world.state(1) == State.SETTLED


def test_tx_origin__a_contract_the_oracle_calls__is_not_the_oracle(world, wallet):
    job, terms = world.accepted(world.terms())
    data = world.escrow.deliver.encode_input(job, terms.to_abi(), CHARGE, RESULT)

    assert refusal(wallet.run, world.escrow.address, data, sender=world.oracle) == "NotAllowed"


def test_griefing_by_dust__an_open_job_taken_for_nothing__cannot_be_created(world):
    terms = world.terms(open=True, bond=0)

    assert refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=BUDGET) == "bond"


def test_oracle_as_validator__under_one_address__is_refused(world):
    terms = replace(world.terms(judged=True), validator=world.oracle.address)

    assert refused_field(world.escrow.createJob, terms.to_abi(), sender=world.requester, value=BUDGET) == "validator"


def test_forced_ether__and_plain_transfers__change_no_account(world):
    world.stranger.deploy(Forcer, world.escrow, amount=12_345)
    job, _ = world.delivered(world.terms())
    before = world.credit(world.requester), world.credit(world.oracle)

    with pytest.raises(Exception, match="revert|typed error"):
        world.stranger.transfer(world.escrow, 1)
    with pytest.raises(Exception, match="revert|typed error"):
        world.stranger.transfer(world.registry, 1)

    assert before == (BUDGET - CHARGE, CHARGE)
    assert web3.eth.get_balance(world.escrow.address) == BUDGET + 12_345


def test_dispute__twice__is_refused(world):
    job, terms = world.disputed(world.terms(arbitrated=True))

    for who in (world.requester, world.oracle):
        args = (job, terms.to_abi(), b"e" * 32)
        assert refusal(world.escrow.dispute, *args, sender=who, value=BOND) == "WrongState"


@pytest.mark.parametrize("value", [0, BOND - 1, BOND + 1])
def test_dispute__without_the_exact_bond__is_refused(world, value):
    job, terms = world.delivered(world.terms(arbitrated=True))

    args = (job, terms.to_abi(), b"e" * 32)
    assert refusal(world.escrow.dispute, *args, sender=world.requester, value=value) == "WrongValue"


def test_rule__share_over_everything__is_refused(world):
    job, terms = world.disputed(world.terms(arbitrated=True))

    for share in (10_001, 2**256 - 1):
        assert refusal(world.escrow.rule, job, terms.to_abi(), share, sender=world.arbiter) == "ShareTooHigh"


def test_withdraw__nothing_owed_or_nowhere_to__is_refused(world):
    world.delivered(world.terms())

    assert (
        refusal(world.escrow.withdraw, ZERO_ADDRESS, world.stranger.address, sender=world.stranger)
        == "NothingToWithdraw"
    )
    assert refusal(world.escrow.withdraw, ZERO_ADDRESS, ZERO_ADDRESS, sender=world.oracle) == "InvalidRecipient"


def test_owner_withdraws_everything__peers_allow_it__nobody_can_here(world):
    world.delivered(world.terms(arbitrated=True))  # money is still held

    for who in (world.funder, world.requester, world.oracle, world.arbiter, world.stranger):
        assert refusal(world.escrow.withdraw, ZERO_ADDRESS, who.address, sender=who) == "NothingToWithdraw"
