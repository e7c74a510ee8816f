from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from eth_account import Account

from oracle.chain.client import connect
from oracle.chain.contracts import NATIVE, Call
from oracle.chain.failures import Reverted
from oracle.chain.sender import Attempt, MemoryAttemptLog, Sender
from oracle.jobs.errors import ChainError, ChainUnavailable
from oracle.jobs.states import State


class BrokenLog(MemoryAttemptLog):
    """A disk that is full."""

    def record(self, attempt: Attempt) -> None:
        raise OSError("no space left")


class WitnessLog(MemoryAttemptLog):
    """Notes whether the network knew a transaction when it was recorded."""

    def __init__(self, w3) -> None:
        super().__init__()
        self.w3, self.known = w3, []

    def record(self, attempt: Attempt) -> None:
        self.known.append(self.w3.eth.get_transaction_count(attempt.sender, "pending") > attempt.nonce)
        super().record(attempt)


def nonce_of(world, who: str) -> int:
    return world.client.w3.eth.get_transaction_count(world.address(who), "pending")


def test_send__call__is_mined_and_its_receipt_says_the_fee(world):
    before = world.client.balance(world.address("requester"))

    receipt = world.send("requester", world.client.escrow.create_job(world.terms(budget=5)))

    assert receipt.block == world.client.block().number
    assert receipt.fee > 0
    assert world.client.balance(world.address("requester")) == before - 5 - receipt.fee
    assert len(receipt.logs) == 1


def test_start__attempt__is_recorded_before_it_is_broadcast(world):
    log = WitnessLog(world.client.w3)

    attempt = Sender(world.client.w3, world.senders["requester"].account, log).start(
        world.client.escrow.create_job(world.terms()), "1:create"
    )

    assert log.recorded == [attempt]
    assert log.known == [False]
    assert attempt.purpose == "1:create"
    assert world.client.w3.keccak(attempt.raw) == attempt.tx_hash


def test_start__log_that_cannot_record__prevents_the_broadcast(world):
    before = (nonce_of(world, "requester"), world.client.block(), world.client.escrow.job_count())
    sender = Sender(world.client.w3, world.senders["requester"].account, BrokenLog())

    with pytest.raises(ChainError):
        sender.start(world.client.escrow.create_job(world.terms()))

    assert (nonce_of(world, "requester"), world.client.block(), world.client.escrow.job_count()) == before


def test_start__contract_refuses__nothing_is_signed_or_recorded(world):
    job_id, terms = world.create()
    before = nonce_of(world, "stranger")
    log = MemoryAttemptLog()

    with pytest.raises(Reverted, match="NotAllowed"):
        Sender(world.client.w3, world.senders["stranger"].account, log).start(world.client.escrow.cancel(job_id, terms))

    assert log.recorded == []
    assert nonce_of(world, "stranger") == before


def test_check__call__raises_what_send_would_and_signs_nothing(world):
    job_id, terms = world.create()
    before = nonce_of(world, "oracle")

    world.senders["oracle"].check(world.client.escrow.accept(job_id, terms))
    with pytest.raises(Reverted, match="NotAllowed"):
        world.senders["stranger"].check(world.client.escrow.accept(job_id, terms))

    assert nonce_of(world, "oracle") == before
    assert world.client.escrow.state_of(job_id) == State.CREATED


def test_start__several__nonces_are_in_sequence(world):
    sender = world.senders["requester"]
    first = nonce_of(world, "requester")

    attempts = [sender.start(world.client.escrow.create_job(world.terms())) for _ in range(3)]

    assert [attempt.nonce for attempt in attempts] == [first, first + 1, first + 2]


def test_start__from_two_threads_at_once__no_nonce_is_used_twice(world):
    sender, first = world.senders["requester"], nonce_of(world, "requester")
    call = world.client.escrow.create_job(world.terms())
    together = threading.Barrier(2)

    def three() -> list[Attempt]:
        together.wait()
        return [sender.start(call) for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        attempts = [attempt for future in [pool.submit(three), pool.submit(three)] for attempt in future.result()]

    assert sorted(attempt.nonce for attempt in attempts) == list(range(first, first + 6))
    assert [sender.wait(attempt).block for attempt in attempts]


def test_start__attempt_recorded_but_unknown_to_the_network__next_takes_the_nonce_after_it(world):
    account, log = world.senders["requester"].account, MemoryAttemptLog()
    nonce = nonce_of(world, "requester")
    log.record(Attempt("1:create", account.address, nonce, b"raw", b"h" * 32))
    sender = Sender(world.client.w3, account, log)

    with pytest.raises(ChainError):  # py-evm keeps no queue: it refuses what does not come next
        sender.start(world.client.escrow.create_job(world.terms()))

    assert log.next_nonce(account.address) >= nonce + 1
    assert log.next_nonce("0xsomebody else") == 0


def test_resend__mined_already__is_harmless(world):
    sender = world.senders["requester"]
    attempt = sender.start(world.client.escrow.create_job(world.terms()))
    mined, jobs = sender.wait(attempt), world.client.escrow.job_count()

    sender.resend(attempt)

    assert world.client.escrow.job_count() == jobs
    assert sender.receipt(attempt) == mined


def test_resend__never_broadcast__is_mined_by_another_sender_after_a_restart(world):
    account = world.senders["requester"].account
    w3, nonce = world.client.w3, nonce_of(world, "requester")
    call = world.client.escrow.create_job(world.terms())
    signed = account.sign_transaction(
        {
            "to": call.to,
            "data": call.data,
            "value": call.value,
            "gas": 200_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 1,
            "nonce": nonce,
            "chainId": w3.eth.chain_id,
            "type": 2,
        }
    )
    attempt = Attempt("1:create", account.address, nonce, bytes(signed.raw_transaction), bytes(signed.hash))
    sender, jobs = Sender(w3, account), world.client.escrow.job_count()
    assert sender.receipt(attempt) is None
    assert not sender.overtaken(attempt)

    sender.resend(attempt)

    assert sender.wait(attempt).tx_hash == attempt.tx_hash
    assert world.client.escrow.job_count() == jobs + 1
    assert not sender.overtaken(attempt)


def test_overtaken__another_transaction_took_the_nonce__is_true(world):
    sender = world.senders["requester"]
    mined = sender.start(world.client.escrow.create_job(world.terms()))
    lost = replace(mined, purpose="another", tx_hash=b"\x07" * 32)

    assert sender.overtaken(lost)
    assert sender.receipt(lost) is None
    assert not sender.overtaken(replace(lost, nonce=mined.nonce + 1))


def test_send__account_without_funds__says_who_has_how_much(world):
    poor = Account.from_key(b"\x55" * 32)
    log = MemoryAttemptLog()

    with pytest.raises(ChainError, match=f"{poor.address} holds 0") as refused:
        Sender(world.client.w3, poor, log).send(Call("transfer", world.address("oracle"), "0x", 1))

    assert refused.value.field == "account"
    assert "fund it" in refused.value.remedy
    assert log.recorded == []


def test_send__value_held_but_not_the_gas__is_refused_before_signing(world):
    poor = Account.from_key(b"\x56" * 32)
    world.send("stranger", Call("transfer", poor.address, "0x", 1000))
    log = MemoryAttemptLog()

    with pytest.raises(ChainError, match="cannot pay|holds 1000 wei and may need"):
        Sender(world.client.w3, poor, log).send(Call("transfer", world.address("oracle"), "0x", 1000))

    assert log.recorded == []


def test_wait__mined_but_reverted__says_so(world):
    account, w3 = world.senders["stranger"].account, world.client.w3
    call = world.client.escrow.withdraw(NATIVE, account.address)
    signed = account.sign_transaction(
        {
            "to": call.to,
            "data": call.data,
            "value": 0,
            "gas": 100_000,
            "gasPrice": 10**11,
            "nonce": nonce_of(world, "stranger"),
            "chainId": w3.eth.chain_id,
        }
    )
    attempt = Attempt("withdraw", account.address, 0, bytes(signed.raw_transaction), bytes(signed.hash))
    sender = Sender(w3, account)
    sender.resend(attempt)

    for look in (sender.wait, sender.receipt):
        with pytest.raises(ChainError, match=r"\(withdraw\) was mined but reverted"):
            look(attempt)


def test_wait__never_mined__is_unavailable_after_the_time_out(world):
    sender = world.senders["requester"]
    lost = Attempt("lost", sender.address, 99, b"", b"\x08" * 32)

    with pytest.raises(ChainUnavailable, match="did not confirm in time"):
        sender.wait(lost, timeout=0)


class Refusing:
    """``w3.eth`` of a network that answers a broadcast with an error."""

    def __init__(self, eth, err: Exception):
        self._eth, self._err = eth, err

    def __getattr__(self, name):
        return getattr(self._eth, name)

    def send_raw_transaction(self, raw):
        raise self._err


class Network:
    def __init__(self, w3, err: Exception):
        self.eth, self.provider = Refusing(w3.eth, err), w3.provider


def broadcast_failing(world, err: Exception) -> tuple[MemoryAttemptLog, ChainError | None]:
    log = MemoryAttemptLog()
    sender = Sender(Network(world.client.w3, err), world.senders["requester"].account, log)
    try:
        sender.start(world.client.escrow.create_job(world.terms()))
    except ChainError as failure:
        return log, failure
    return log, None


def test_start__connection_lost_in_the_broadcast__keeps_the_attempt(world):
    log, failure = broadcast_failing(world, ConnectionResetError())

    assert isinstance(failure, ChainUnavailable)
    assert len(log.recorded) == 1  # it may have arrived


def test_start__endpoint_refuses_the_transaction__forgets_the_attempt(world):
    from web3.exceptions import Web3RPCError

    log, failure = broadcast_failing(world, Web3RPCError("transaction underpriced"))

    assert isinstance(failure, ChainError)
    assert log.recorded == []


@pytest.mark.parametrize("words", ["already known", "AlreadyKnown: transaction already imported", "nonce too low"])
def test_start__network_has_it_already__keeps_the_attempt_without_error(world, words):
    from web3.exceptions import Web3RPCError

    log, failure = broadcast_failing(world, Web3RPCError(words))

    assert failure is None
    assert len(log.recorded) == 1


def test_send__no_key_material__in_any_error(world, endpoint):
    account = Account.from_key(b"\x57" * 32)
    with endpoint(b"<html>") as url:
        sender = Sender(connect(url.replace("://", "://user:secret@")), account)

        with pytest.raises(ChainError) as refused:
            sender.send(Call("transfer", world.address("oracle"), "0x", 1))

    assert "57" * 8 not in str(refused.value)
    assert "secret" not in str(refused.value)
