"""Random calls on the contracts and on a model of them: both must do the same, to the wei and to the word.

A sequence is made from its number alone, so a failure repeats; it is shown shrunk to what still fails. For a deeper
search set QSCROW_DIFFERENTIAL_SEQUENCES to the number of sequences to play.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from random import Random
from typing import Any

import pytest
from brownie import JobEscrow, OracleRegistry, PlainToken, ResultNFT, SignedToken, Wallet, accounts, web3
from driver import Chain, Mismatch, shrink
from eth_account import Account
from model import (
    DAY,
    FULL_SHARE,
    MAX_CHALLENGE_PERIOD,
    MAX_JOB_DURATION,
    NATIVE,
    PROMOTION_NOTICE,
    UNDELIVERED,
    UNLIMITED,
    Attestation,
    Authorization,
    BatchedDelivery,
    BatchedVerdict,
    Books,
    Command,
    Job,
    Model,
    Outcome,
    Place,
    Signature,
    Unstaking,
    Withdrawal,
)

from oracle.jobs.states import TAKEN, TERMINAL, State, Tier
from oracle.jobs.terms import ZERO_ADDRESS, Terms

SEQUENCES = int(os.environ.get("QSCROW_DIFFERENTIAL_SEQUENCES", "48"))
CALLS = 100
FIRST = 200
"""So many sequences must tell every wrong model apart and meet everything there is; they are made, not all compared."""
LOOK_EVERY = 7
START = 2_000_000_000
FORTUNE = 10**12
STAKE = 5_000_011
HOSTILE = 0.3
SOON = 40
"""Seconds: a phase with less left than this is as good as over."""
NAMES = ("requester", "sponsor", "oracle", "other_oracle", "validator", "arbiter", "stranger")
FOR_THE_ESCROW = {"lock", "release", "slash", "mint", "announceUpdate"}
NOT_OURS = {
    "function": {"safeTransferFrom", "setApprovalForAll"},
    "event": {"EIP712DomainChanged", "ApprovalForAll", "BatchMetadataUpdate"},
    "error": {
        # Tokens that lie or call back have their own tests.
        *("InexactTransfer", "SafeERC20FailedOperation", "ReentrancyGuardReentrantCall"),
        *("InvalidShortString", "StringTooLong", "StringsInsufficientHexLength"),
        *("ERC721InvalidApprover", "ERC721InvalidOperator", "ERC721InvalidOwner", "ERC721InvalidSender"),
    },
}
"""What OpenZeppelin declares and no sequence meets."""
AIMED = {
    **dict.fromkeys(("createJob", "createJobWithPermit"), ("_nonsense",)),
    **dict.fromkeys(("deliver", "deliverAttested"), ("_overcharge", "_overcharge", "_no_digest")),
    "rule": ("_share_too_high",),
    "register": ("_no_digest", "_stake_too_large"),
    "addStake": ("_nothing", "_stake_too_large"),
    "requestUnstake": ("_nothing",),
    "withdraw": ("_other_payee",),
    "unstake": ("_other_payee", "_too_early"),
    "withdrawFor": ("_other_wish",),
    "transferFrom": ("_other_owner",),
    "report": ("_other_report",),
}
"""What breaks a rule that is this call's own."""
LIMITS = {"accept_by": 2**32, "deliver_by": 2**32, "challenge_period": 2**32, "method": 4, "distance": 2**32}


@dataclass(frozen=True)
class Cast:
    """Who plays: seven accounts with keys, and ``wallet``, a contract that ``wallet_key`` signs for."""

    requester: str
    sponsor: str
    oracle: str
    other_oracle: str
    validator: str
    arbiter: str
    stranger: str
    wallet: str
    wallet_key: str

    @property
    def everybody(self) -> list[str]:
        """All who call and have money."""
        return [getattr(self, name) for name in (*NAMES, "wallet")]


class Player:
    """Makes a sequence of commands from a seed, by the state of a model that plays along."""

    def __init__(self, seed: int, cast: Cast, model: Model):
        self.random = Random(seed)
        self.cast = cast
        self.model = model
        self.place = model.place
        self.now = START
        self.commands: list[Command] = []
        self.original: dict[int, Terms] = {}
        self.outcomes: list[Outcome] = []

    def sequence(self, calls: int) -> list[Command]:
        """``calls`` commands after a few that prepare, and then what it takes to end all jobs and pay everybody."""
        self._prepare()
        for _ in range(calls):
            command = self._meaningful()
            if self.random.random() < HOSTILE:
                command = self._spoiled(command)
            self._play(command)
        self._close()
        return self.commands

    # ------------------------------------------------------------------------------- beginning and end

    def _prepare(self) -> None:
        for oracle in (self.cast.oracle, self.cast.other_oracle):
            self._play(self._command("registry", "register", oracle, b"k" * 32, b"p" * 32, value=STAKE))
            self._play(self._command("registry", "requestUnstake", oracle, self.random.randint(1, 1_000)))
        for payer in (self.cast.requester, self.cast.sponsor, self.cast.wallet):
            for token in self.place.tokens:
                allowance = self.random.choice((UNLIMITED, FORTUNE))
                self._play(self._command(token, "approve", payer, self.place.escrow, allowance))

    def _close(self) -> None:
        """End every job by the calls that are open to anyone, then take everything out."""
        for number in self._numbers(lambda job: job.deadline):
            job = self.model.books.jobs[number]
            method = "claimRefund" if job.state in UNDELIVERED else "settle"
            second = max(self.now, job.deadline) + 1
            self._play(self._command("escrow", method, self.cast.stranger, number, job.terms, second=second))
        for (token, account), credit in list(self.model.books.credits.items()):
            if credit:
                self._play(self._command("escrow", "withdraw", account, token, self.cast.stranger))
        for oracle, stake in list(self.model.books.stakes.items()):
            if stake.total:
                self._play(self._command("registry", "requestUnstake", oracle, stake.total))
        for oracle, leaving in list(self.model.books.unstaking.items()):
            if leaving.amount:
                second = max(self.now + 1, leaving.available_at)
                self._play(self._command("registry", "unstake", oracle, self.cast.stranger, second=second))

    def _play(self, command: Command) -> None:
        self.commands.append(command)
        self.now = command.second
        before = len(self.model.books.jobs)
        self.outcomes.append(self.model.outcome(command))
        for number in range(before + 1, len(self.model.books.jobs) + 1):
            self.original[number] = self.model.books.jobs[number].terms

    def _command(
        self, target: str, method: str, sender: str, *args: Any, value: int = 0, second: int | None = None
    ) -> Command:
        later = self.now + self.random.randint(1, 20)
        return Command(target, method, sender, second or later, args, value)

    # --------------------------------------------------------------------------------- meaningful calls

    def _meaningful(self) -> Command:
        live = self._numbers(lambda job: job.deadline)
        roll = self.random.random()
        if not live or roll < 0.22 and len(live) < 10:
            return self._creation()
        if roll < 0.26:
            return self._late(min(live, key=lambda number: self.model.books.jobs[number].deadline))
        if roll < 0.82:
            return self._step(self.random.choice(live))
        others = (self._withdrawal, self._withdrawal, self._batch, self._batch, self._stakes, self._chatter)
        return self.random.choice(others)()

    def _numbers(self, wanted: Callable[[Job], Any]) -> list[int]:
        return [number for number, job in self.model.books.jobs.items() if wanted(job)]

    def _terms(self, **changes: Any) -> Terms:
        choose, number = self.random.choice, self.random.randint
        cast = self.cast
        requester = choose((cast.requester, cast.requester, cast.requester, cast.wallet))
        oracle = choose((cast.oracle, cast.oracle, cast.oracle, cast.other_oracle, ZERO_ADDRESS))
        validator = choose((ZERO_ADDRESS, cast.validator, cast.validator, cast.wallet))
        arbiter = choose((ZERO_ADDRESS, cast.arbiter))
        accept_by = self.now + 20 + choose((0, 2_000, 20_000, 20_000))
        named = validator != ZERO_ADDRESS or arbiter != ZERO_ADDRESS
        budget = choose((number(2, 9), number(10, 10**6)))
        fee = number(0, budget - 1) if validator != ZERO_ADDRESS else 0
        base = Terms(
            requester=requester,
            payer=requester,
            oracle=oracle,
            validator=validator,
            arbiter=arbiter,
            token=choose((NATIVE, NATIVE, *self.place.tokens)),
            budget=budget,
            validator_fee=fee,
            bond=choose((0 if oracle != ZERO_ADDRESS else 1, number(1, 300_000))),
            accept_by=accept_by,
            deliver_by=accept_by + choose((0, 500, PROMOTION_NOTICE + 500, 20_000, 20_000, 20_000)),
            challenge_period=choose((1, 500, 5_000, DAY, MAX_CHALLENGE_PERIOD)) if named else 0,
            spec=self._digest(),
            seal_to=self._digest(),
        )
        return replace(base, **changes)

    def _digest(self) -> bytes:
        return self.random.randbytes(32)

    def _creation(self) -> Command:
        ways = (self._create_own, self._create_own, self._create_own, self._create_by_permit)
        ways += (self._create_for, self._create_for, self._create_several, self._create_by_authorization)
        return self.random.choice(ways)()

    def _create_own(self) -> Command:
        terms = self._terms()
        return self._command("escrow", "createJob", terms.payer, terms, value=self._price(terms))

    def _create_by_permit(self) -> Command:
        owner, token = self.cast.requester, self.random.choice(self.place.tokens)
        terms = self._terms(requester=owner, payer=owner, token=token)
        nonce = self.model.books.permits.get((token, owner), 0)
        deadline = self.now + self.random.choice((0, 20, 50, 500))
        content = (owner, self.place.escrow, terms.budget, nonce, deadline)
        signature = Signature(owner, token, "Permit", content)
        return self._command("escrow", "createJobWithPermit", owner, terms, deadline, signature)

    def _create_by_authorization(self) -> Command:
        payer, token = self.cast.requester, self.place.signed_token
        terms = self._terms(requester=payer, payer=payer, token=token)
        after, before = self.now - self.random.randint(0, 3), self.now + self.random.choice((2, 21, 200, 200, 200))
        salt = self._digest()
        content = (payer, self.place.escrow, terms.budget, after, before, (terms, salt))
        signature = Signature(payer, token, "ReceiveWithAuthorization", content)
        authorization = Authorization(after, before, salt, signature)
        return self._command("escrow", "createJobWithAuthorization", self.cast.stranger, terms, authorization)

    def _create_for(self) -> Command:
        terms = self._terms(payer=self.cast.sponsor)
        nonce = self._nonce(terms.requester)
        signature = self._signature(terms.requester, "CreateJob", (terms, nonce))
        value = self._price(terms)
        return self._command("escrow", "createJobFor", terms.payer, terms, nonce, signature, value=value)

    def _create_several(self) -> Command:
        token, payer = self.random.choice((NATIVE, *self.place.tokens)), self.cast.requester
        batch = tuple(
            self._terms(token=token, requester=payer, payer=payer) for _ in range(self.random.choice((0, 1, 2, 3)))
        )
        value = sum(map(self._price, batch))
        return self._command("escrow", "createJobs", payer, batch, value=value)

    @staticmethod
    def _price(terms: Terms) -> int:
        return terms.budget if terms.token == NATIVE else 0

    def _nonce(self, account: str) -> int:
        key = self.random.choice((0, 1))
        return (key << 64) + self.model.books.nonces.get((account, key), 0)

    def _signature(self, account: str, kind: str, content: tuple) -> Signature:
        """By the account's key, or the stranger's where it has none."""
        signer = self.place.wallets.get(account, account)
        has_key = signer in (self.cast.wallet_key, *self.cast.everybody)
        return Signature(signer if has_key else self.cast.stranger, self.place.escrow, kind, content)

    def _step(self, number: int) -> Command:
        """What somebody would do next with the job: in time, now and then in the very last second."""
        job = self.model.books.jobs[number]
        left = job.deadline - self.now
        if left < SOON:
            return self._late(number)
        steps = {
            State.CREATED: self._steps_of_created,
            State.ACCEPTED: self._steps_of_taken,
            State.APPROVED: self._steps_of_taken,
            State.COMPLETED: self._steps_of_completed,
            State.DISPUTED: self._steps_of_disputed,
        }[job.state](number, job)
        method, sender, value, *args = self.random.choice(steps)
        last = job.deadline - (PROMOTION_NOTICE if method == "promote" else 0)
        on_the_dot = left < DAY and self.random.random() < 0.06
        second = max(last, self.now + 1) if on_the_dot else None
        return self._command("escrow", method, sender, number, job.terms, *args, value=value, second=second)

    def _late(self, number: int) -> Command:
        """What anybody may do with the job once its time is over, mostly in the first second."""
        job = self.model.books.jobs[number]
        method = "claimRefund" if job.state in UNDELIVERED else "settle"
        second = max(job.deadline, self.now) + self.random.choice((1, 1, 50))
        return self._command("escrow", method, self.cast.stranger, number, job.terms, second=second)

    def _steps_of_created(self, number: int, job: Job) -> list[tuple]:
        terms, cast = job.terms, self.cast
        taker = self.random.choice((cast.oracle, cast.other_oracle)) if terms.is_open else terms.oracle
        steps = [("accept", taker, 0)] * 8
        steps += [("cancel", terms.requester, 0)]
        if terms.is_open:
            return steps
        return [*steps, ("reject", taker, 0, b"busy".ljust(32, b"\0")), *self._deliveries(number, job)]

    def _steps_of_taken(self, number: int, job: Job) -> list[tuple]:
        terms = job.terms
        extra = self.random.choice((0, self.random.randint(1, 10**6))) if terms.requester == terms.payer else 0
        value = extra if terms.token == NATIVE else 0
        steps = self._deliveries(number, job) * 3
        steps += [("fail", terms.oracle, 0, b"broken".ljust(32, b"\0"))]
        if job.deadline - PROMOTION_NOTICE > self.now:
            tries = 6 if job.state == State.ACCEPTED else 1
            steps += [("promote", terms.requester, value, extra, self._digest())] * tries
        return steps

    def _deliveries(self, number: int, job: Job) -> list[tuple]:
        terms, result = job.terms, self._digest()
        cap = terms.budget - terms.validator_fee
        charge = self.random.choice((0, cap, self.random.randint(0, cap)))
        steps = [("deliver", terms.oracle, 0, charge, result)] * 2
        if terms.validator != ZERO_ADDRESS:
            verdict = self._attestation(number, terms, result, accepted=self.random.random() < 0.9)
            steps.append(("deliverAttested", terms.oracle, 0, charge, result, verdict))
        return steps

    def _steps_of_completed(self, number: int, job: Job) -> list[tuple]:
        terms = job.terms
        steps = [("settle", self.cast.stranger, 0)]  # too early
        if terms.validator != ZERO_ADDRESS:
            result = self.model.books.results[number]
            for accepted in (True, False, False) if job.rejected_by is None else (True,):
                steps.append(("validate", self.cast.stranger, 0, self._attestation(number, terms, result, accepted)))
        if terms.arbiter != ZERO_ADDRESS:
            disputer = terms.requester if job.rejected_by is None else terms.oracle
            parties = (disputer, disputer, terms.requester, terms.oracle)
            steps += [("dispute", who, terms.bond, self._digest()) for who in parties]
        return steps

    def _steps_of_disputed(self, number: int, job: Job) -> list[tuple]:
        terms = job.terms
        share = self.random.choice((0, 1, 3_333, 5_000, FULL_SHARE, self.random.randint(0, FULL_SHARE)))
        speaker = self.random.choice((terms.requester, terms.payer, terms.oracle, terms.validator))
        steps = [("rule", terms.arbiter, 0, share)] * 2
        return steps + [("submitEvidence", speaker, 0, self._digest())] * (speaker != ZERO_ADDRESS)

    def _attestation(self, number: int, terms: Terms, result: bytes, accepted: bool) -> Attestation:
        method, distance, report = self.random.randint(0, 3), self.random.randint(0, 10**6), self._digest()
        content = (number, terms, result, accepted, method, distance, report)
        signature = self._signature(terms.validator, "Attestation", content)
        return Attestation(accepted, method, distance, report, signature)

    def _batch(self) -> Command:
        """Several deliveries of one oracle, or several verdicts; some of them spoiled already."""
        if self.random.random() < 0.5:
            return self._batch_of_verdicts()
        oracle = self.random.choice((self.cast.oracle, self.cast.oracle, self.cast.other_oracle))
        ready = self._numbers(lambda job: job.state in UNDELIVERED and job.terms.oracle == oracle)
        ended = self._numbers(lambda job: job.state not in UNDELIVERED)
        items = []
        for number in self._some(ready, 4) + self._some(ended, 1):
            job = self.model.books.jobs[number]
            method, _, _, charge, result, *verdict = self.random.choice(self._deliveries(number, job))
            items.append(BatchedDelivery(number, job.terms, charge, result, verdict[0] if verdict else None))
        return self._command("escrow", "deliverBatch", oracle, tuple(items))

    def _batch_of_verdicts(self) -> Command:
        ready = self._numbers(lambda job: job.state == State.COMPLETED and job.terms.validator != ZERO_ADDRESS)
        ended = self._numbers(lambda job: job.state != State.COMPLETED)
        items = []
        for number in self._some(ready, 4) + self._some(ended, 1):
            terms = self.model.books.jobs[number].terms
            result = self.model.books.results.get(number, bytes(32))
            verdict = self._attestation(number, terms, result, self.random.random() < 0.5)
            items.append(BatchedVerdict(number, terms, verdict))
        return self._command("escrow", "validateBatch", self.cast.stranger, tuple(items))

    def _some(self, numbers: list[int], most: int) -> list[int]:
        return self.random.sample(numbers, min(len(numbers), self.random.randint(0, most)))

    def _withdrawal(self) -> Command:
        owed = [key for key, credit in self.model.books.credits.items() if credit]
        if not owed:
            return self._stakes()
        token, account = self.random.choice(owed)
        to = self.random.choice((account, account, self.cast.stranger, self.cast.wallet))
        if self.random.random() < 0.5:
            return self._command("escrow", "withdraw", account, token, to)
        credit = self.model.books.credits[token, account]
        fee = self.random.choice((0, 1, credit, self.random.randint(0, credit)))
        deadline = self.now + self.random.choice((0, 20, 20, 500))
        wish = Withdrawal(account, token, to, fee, self._nonce(account), deadline)
        return self._command("escrow", "withdrawFor", self.cast.sponsor, wish, self._signed_wish(wish))

    def _signed_wish(self, wish: Withdrawal) -> Signature:
        content = tuple(getattr(wish, each.name) for each in fields(wish))
        return self._signature(wish.account, "Withdrawal", content)

    def _stakes(self) -> Command:
        oracle = self.random.choice((self.cast.oracle, self.cast.oracle, self.cast.other_oracle, self.cast.stranger))
        stake, leaving = self.model.books.stakes.get(oracle), self.model.books.unstaking.get(oracle)
        choices: list[Command] = [
            self._command("registry", "addStake", oracle, value=self.random.randint(1, 10**6)),
            self._command("registry", "register", oracle, self._digest(), self._digest()),
        ]
        if stake and stake.total > stake.locked:
            free = stake.total - stake.locked
            choices.append(self._command("registry", "requestUnstake", oracle, self.random.randint(1, free)))
        if leaving and leaving.amount:
            on_the_dot = self.random.random() < 0.3
            turn = leaving.available_at
            second = max(self.now + 1, turn) if on_the_dot else None
            choices += [self._command("registry", "unstake", oracle, oracle, second=second)] * 2
        return self.random.choice(choices)

    def _chatter(self) -> Command:
        """Calls that move no job: progress, results and allowances changing hands, gifts."""
        choose, cast = self.random.choice, self.cast
        numbers = tuple(self._some(self._numbers(lambda job: job.state in UNDELIVERED), 3))
        states = tuple(self.random.randint(State.SIMULATED, State.RUNNING) for _ in numbers)
        choices = [
            self._command(
                "escrow", "report", choose((cast.oracle, cast.stranger)), numbers, states, self._many(numbers)
            )
        ] * 2
        if owners := self.model.books.owners:
            token_id = choose(list(owners))
            owner = owners[token_id]
            choices += [self._command("nft", "transferFrom", owner, owner, choose(cast.everybody), token_id)] * 4
        token, payer = choose(self.place.tokens), choose((cast.requester, cast.sponsor, cast.wallet))
        choices.append(
            self._command(token, "approve", payer, self.place.escrow, choose((0, FORTUNE, FORTUNE, UNLIMITED)))
        )
        if self.random.random() < 0.1:
            return self._for_the_escrow_only()
        choices.append(self._command(token, "transfer", payer, choose((self.place.escrow, cast.stranger)), 3))
        return choose(choices)

    def _for_the_escrow_only(self) -> Command:
        stranger, oracle, digest = self.cast.stranger, self.cast.oracle, self._digest()
        calls = [("registry", method, (oracle, 1)) for method in ("lock", "release", "slash")]
        calls += [("nft", "mint", (stranger, 10**6, digest)), ("nft", "announceUpdate", (1,))]
        target, method, args = self.random.choice(calls)
        return self._command(target, method, stranger, *args)

    def _many(self, numbers: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(self._digest() for _ in numbers)

    # ------------------------------------------------------------------------------------ hostile calls

    def _spoiled(self, command: Command) -> Command:
        """The command with something wrong: aimed at a rule where there is one, or anywhere, which may not matter."""
        ways = [self._other_value, self._again, self._former_terms] + [self._other_sender] * 3
        ways += [self._other_second] * 2 + [self._other_method] * 4 + [self._other_argument] * 4
        aimed = command.method in AIMED and self.random.random() < 0.5
        for _ in range(1 if aimed else self.random.choice((1, 1, 1, 2))):
            way = getattr(self, self.random.choice(AIMED[command.method])) if aimed else self.random.choice(ways)
            command = way(command)
        return replace(command, second=max(command.second, self.now + 1))

    def _other_sender(self, command: Command) -> Command:
        return replace(command, sender=self.random.choice(self.cast.everybody))

    def _nonsense(self, command: Command) -> Command:
        """A job that nobody should be able to create, in one way."""
        terms, *rest = command.args
        somebody = terms.oracle if terms.oracle != ZERO_ADDRESS else self.cast.oracle
        changes = (
            {"oracle": ZERO_ADDRESS, "bond": 0},
            {"oracle": somebody, "validator": somebody, "challenge_period": 1},
            {"oracle": somebody, "arbiter": somebody, "challenge_period": 1},
            {"validator_fee": terms.budget},
            {"validator": ZERO_ADDRESS, "arbiter": self.cast.arbiter, "challenge_period": 1, "validator_fee": 1},
            {"challenge_period": 0 if terms.challenge_period else 1},
            {"challenge_period": MAX_CHALLENGE_PERIOD + (1 if terms.challenge_period else 0)},
            {"accept_by": self.now},
            {"deliver_by": terms.accept_by - 1},
            {"deliver_by": command.second + MAX_JOB_DURATION + self.random.choice((0, 1))},
        )
        return replace(command, args=(replace(terms, **self.random.choice(changes)), *rest))

    def _overcharge(self, command: Command) -> Command:
        """A bill of a unit more than allowed, or of the fee as well."""
        number, terms, _, *rest = command.args
        charge = self.random.choice((terms.budget - terms.validator_fee + 1, terms.budget))
        return replace(command, args=(number, terms, charge, *rest))

    def _no_digest(self, command: Command) -> Command:
        """Zero for every digest: an empty result, no sealing key."""
        args = [bytes(32) if isinstance(item, bytes) else item for item in command.args]
        return replace(command, args=tuple(args))

    def _share_too_high(self, command: Command) -> Command:
        """A basis point more than everything."""
        return replace(command, args=(*command.args[:2], FULL_SHARE + 1))

    def _stake_too_large(self, command: Command) -> Command:
        """More than an account holds."""
        return replace(command, value=2**128)

    def _nothing(self, command: Command) -> Command:
        """No value, no amount."""
        return replace(command, value=0, args=tuple(0 for _ in command.args))

    def _too_early(self, command: Command) -> Command:
        """Stake a second before it can be taken."""
        leaving = self.model.books.unstaking.get(command.sender, Unstaking())
        return replace(command, second=leaving.available_at - 1)

    def _other_payee(self, command: Command) -> Command:
        """Value for nobody, or for a contract."""
        return replace(command, args=(*command.args[:-1], self._odd_payee()))

    def _odd_payee(self) -> str:
        return self.random.choice((ZERO_ADDRESS, self.place.escrow, self.place.registry, self.place.nft))

    def _other_wish(self, command: Command) -> Command:
        """A withdrawal signed in good order that cannot be made."""
        wish = command.args[0]
        credit = self.model.books.credits.get((wish.token, wish.account), 0)
        changes = ({"fee": credit + 1}, {"nonce": wish.nonce + 1}, {"to": self._odd_payee()}, {"deadline": self.now})
        wish = replace(wish, **self.random.choice(changes))
        return replace(command, args=(wish, self._signed_wish(wish)))

    def _other_owner(self, command: Command) -> Command:
        """A result passed on by or from somebody who does not own it, or to nobody."""
        owner, to, token_id = command.args
        other = self.random.choice(self.cast.everybody)
        changes = (
            {"sender": other},
            {"args": (other, to, token_id)},
            {"args": (owner, ZERO_ADDRESS, token_id)},
            {"args": (owner, to, len(self.model.books.jobs) + 1)},
        )
        return replace(command, **self.random.choice(changes))

    def _other_value(self, command: Command) -> Command:
        value = command.value
        huge = 2**128 if command.target == "registry" else 2 * value
        return replace(command, value=max(0, self.random.choice((0, 1, value - 1, value + 1, huge))))

    def _other_second(self, command: Command) -> Command:
        """Around the deadline of the command's job, or of any."""
        own = [item for item in command.args[:1] if isinstance(item, int)]
        jobs = [self.model.books.jobs[number] for number in own if number in self.model.books.jobs]
        jobs = jobs or [job for job in self.model.books.jobs.values() if job.deadline]
        if not jobs:
            return replace(command, second=command.second + self.random.choice((100, DAY)))
        job = self.random.choice(jobs)
        turn = self.random.choice((job.deadline, job.deadline, job.deadline - PROMOTION_NOTICE))
        if turn > self.now + DAY // 2 and self.random.random() < 0.8:  # it would end everything else
            return command
        return replace(command, second=turn + self.random.choice((-1, 0, 1, 1)))

    def _other_method(self, command: Command) -> Command:
        """Another call on the same job with the same terms, by who may make it."""
        if not (len(command.args) > 1 and isinstance(command.args[1], Terms)):
            return command
        number, terms = command.args[:2]
        result = self.model.books.results.get(number, bytes(32))
        verdict = self._attestation(number, terms, result, self.random.random() < 0.5)
        methods = [("cancel", terms.requester), ("promote", terms.requester, 0, self._digest())]
        methods += [("promote", terms.requester, 0, self._digest()), ("dispute", terms.requester, self._digest())]
        methods += [("accept", terms.oracle), ("reject", terms.oracle, b"r" * 32), ("fail", terms.oracle, b"r" * 32)]
        methods += [("deliver", terms.oracle, 1, self._digest()), ("submitEvidence", terms.oracle, self._digest())]
        methods += [("rule", terms.arbiter, 5_000), ("claimRefund", self.cast.stranger)]
        methods += [("validate", self.cast.stranger, verdict), ("settle", self.cast.stranger)]
        method, sender, *rest = self.random.choice([entry for entry in methods if entry[1] != ZERO_ADDRESS])
        value = terms.bond if method == "dispute" else 0
        return replace(command, method=method, args=(number, terms, *rest), sender=sender, value=value)

    def _again(self, command: Command) -> Command:
        """What somebody did before."""
        past = self.random.choice(self.commands)
        return replace(past, second=command.second)

    def _former_terms(self, command: Command) -> Command:
        """The terms as they were at creation, or another job's."""
        if not (len(command.args) > 1 and isinstance(command.args[1], Terms) and self.original):
            return command
        number, _, *rest = command.args
        former = self.original.get(number) or self.random.choice(list(self.original.values()))
        return replace(command, args=(number, self.random.choice((former, *self.original.values())), *rest))

    def _other_argument(self, command: Command) -> Command:
        if command.method == "report":
            return self._other_report(command)
        if not command.args:
            return command
        index = self.random.randrange(len(command.args))
        changed = self._other(command.args[index], "")
        args = (*command.args[:index], changed, *command.args[index + 1 :])
        if isinstance(changed, Withdrawal) and self.random.random() < 0.7:
            args = (changed, self._signed_wish(changed))
        return replace(command, args=args)

    def _other_report(self, command: Command) -> Command:
        numbers, states, evidence = command.args
        any_job = tuple(self.random.randint(0, len(self.model.books.jobs) + 1) for _ in numbers)
        any_state = tuple(self.random.randint(0, max(State)) for _ in states)
        changed = [(any_job, states, evidence), (numbers, any_state, evidence), (numbers, states, evidence[1:])]
        return replace(command, args=self.random.choice(changed))

    def _other(self, value: Any, name: str) -> Any:
        """A value of the same type that differs in one place, most of the time."""
        if isinstance(value, Signature):
            return self._other_signature(value)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            jobs = len(self.model.books.jobs)
            near = (0, 1, value - 1, value + 1, 2 * value, self.random.randint(0, jobs + 1), 2**96 - 1)
            return max(0, min(self.random.choice(near), LIMITS.get(name, 2**96) - 1))
        if isinstance(value, bytes):
            return self.random.choice((bytes(32), self._digest()))
        if isinstance(value, str):
            contracts = (self.place.escrow, self.place.registry, *self.place.tokens)
            return self.random.choice((ZERO_ADDRESS, *contracts, *self.cast.everybody))
        if isinstance(value, tuple):
            return self._other_batch(value)
        if is_dataclass(value):
            chosen = self.random.choice(fields(value)).name
            return replace(value, **{chosen: self._other(getattr(value, chosen), chosen)})
        return value

    def _other_batch(self, items: tuple) -> tuple:
        if not items:
            return items
        index = self.random.randrange(len(items))
        changed = (*items[:index], self._other(items[index], ""), *items[index + 1 :])
        return self.random.choice((changed, changed, items[:index] + items[index + 1 :], (*items, items[index])))

    def _other_signature(self, signature: Signature) -> Signature:
        signers = [*(getattr(self.cast, name) for name in NAMES), self.cast.wallet_key]
        content = list(signature.content)
        index = self.random.randrange(len(content))
        if isinstance(content[index], (bool, int)):
            content[index] = type(content[index])(content[index] ^ 1)
        elif isinstance(content[index], bytes):
            content[index] = self._digest()
        changes = {
            "signer": self.random.choice(signers),
            "verifier": self.random.choice((self.place.escrow, self.place.nft, *self.place.tokens)),
            "content": tuple(content),
        }
        chosen = self.random.choice(list(changes))
        return replace(signature, **{chosen: changes[chosen]})


# -------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="module")
def cast(module_isolation):
    """Everybody, with a wallet deployed."""
    keys = {name: Account.from_key(bytes([7]) * 31 + bytes([i])) for i, name in enumerate((*NAMES, "wallet_key"), 1)}
    wallet = accounts[0].deploy(Wallet, keys["wallet_key"].address)
    return Cast(wallet=wallet.address, **{name: key.address for name, key in keys.items()})


@pytest.fixture(scope="module")
def chain(cast):
    """The contracts, deployed, and a fortune in tokens for everybody."""
    escrow = accounts[0].deploy(JobEscrow)
    plain, signed = accounts[0].deploy(PlainToken), accounts[0].deploy(SignedToken)
    for token in (plain, signed):
        for actor in cast.everybody:
            token.mint(actor, FORTUNE, {"from": accounts[0]})
    tokens = (plain.address, signed.address)
    contracts = (escrow.address, str(escrow.oracleRegistry()), str(escrow.resultNFT()))
    place = Place(*contracts, tokens, signed.address, {cast.wallet: cast.wallet_key}, frozenset(contracts + tokens))
    keys = {Account.from_key(key).address: key for key in (bytes([7]) * 31 + bytes([i]) for i in range(1, 9))}
    abis = {"escrow": JobEscrow.abi, "registry": OracleRegistry.abi, "nft": ResultNFT.abi, "token": SignedToken.abi}
    return Chain(web3.provider.make_request, web3.eth.chain_id, place, abis, keys, cast.everybody)


@pytest.fixture(scope="module")
def first_players(chain, cast):
    """Players that have made the first sequences, whatever number of them is compared."""
    players = [Player(seed, cast, model_of(chain)) for seed in range(FIRST)]
    for player in players:
        player.sequence(CALLS)
    return players


def model_of(chain: Chain, kind: type[Model] = Model) -> Model:
    """A model of the contracts as they are before the first command."""
    fortunes = {(token, actor): FORTUNE for token in chain.place.tokens for actor in chain.actors}
    return kind(chain.place, Books(balances=fortunes))


# ---------------------------------------------------------------------------------------------- wrong models


def never(self: Model, *arguments: Any) -> Any:
    """A rule that is not there, or a sum of nothing."""
    return 0


def signed_by_keys_only(self: Model, *arguments: Any, **options: Any) -> bool:
    return Model._is_signed(self, *arguments, **{**options, "keys_only": True})


def without_mismatch(self: Model, *arguments: Any) -> list:
    return [fault for fault in Model._job_faults(self, *arguments) if fault and fault[0] != "TermsMismatch"]


def without_terms_fault(name: str) -> Callable:
    return lambda self, terms: [fault for fault in Model._terms_faults(self, terms) if fault[1] != name]


def cancelled_after_acceptance(self: Model, number: int, terms: Terms, allowed: Any) -> list:
    if self.command.method == "cancel":
        allowed = {State.CREATED, State.ACCEPTED}
    return Model._job_faults(self, number, terms, allowed)


def batch_that_reverts(self: Model, batch: tuple[BatchedDelivery, ...]) -> None:
    for item in batch:
        self.deliver(item.job, item.terms, item.charge, item.result)


def split_in_the_oracles_favour(self: Model, amount: int, share: int) -> tuple[int, int]:
    kept = -(-amount * share // FULL_SHARE)
    return kept, amount - kept


def expired_bond_kept_unless_promoted(self: Model, terms: Terms, state: State) -> int:
    return terms.bond if state == State.APPROVED else 0


def wrong(**rules: Any) -> type[Model]:
    """A model with other rules."""
    return type("WrongModel", (Model,), rules)


WRONG_MODELS = {
    "charge cap one too high": wrong(charge_cap=lambda self, terms: terms.budget - terms.validator_fee + 1),
    "charge cap one too low": wrong(charge_cap=lambda self, terms: terms.budget - terms.validator_fee - 1),
    "charge may eat the fee": wrong(charge_cap=lambda self, terms: terms.budget),
    "refund to requester": wrong(refund_to=lambda self, terms: terms.requester),
    "bond not slashed on a rejection": wrong(slashed_on_refusal=never),
    "bond not slashed on expiry": wrong(slashed_on_expiry=expired_bond_kept_unless_promoted),
    "bond slashed without acceptance": wrong(slashed_on_expiry=lambda self, terms, state: terms.bond),
    "fee for a silent validator": wrong(fee_due=lambda self, terms, verdict: terms.validator_fee),
    "no fee for a verdict": wrong(fee_due=never),
    "deadline a second early": wrong(is_over=lambda self, deadline: self.command.second >= deadline),
    "deadline a second late": wrong(is_over=lambda self, deadline: self.command.second > deadline + 1),
    "rejection does not restart the challenge": wrong(deadline_after_rejection=lambda self, job: job.deadline),
    "ruling rounds up": wrong(split_by_ruling=split_in_the_oracles_favour),
    "ruling ignores the share": wrong(split_by_ruling=lambda self, amount, share: (amount, 0)),
    "disputer's bond always to the payer": wrong(disputers_side=lambda self, job: job.terms.payer),
    "disputer's bond always to the requester": wrong(disputers_side=lambda self, job: job.terms.requester),
    "promotion again and again": wrong(can_promote=lambda self, state: state in TAKEN),
    "promotion before acceptance": wrong(can_promote=lambda self, state: state in UNDELIVERED),
    "cancelled after acceptance": wrong(_job_faults=cancelled_after_acceptance),
    "open job without bond": wrong(_terms_faults=without_terms_fault("bond")),
    "oracle judges itself": wrong(_terms_faults=without_terms_fault("validator")),
    "oracle rules itself": wrong(_terms_faults=without_terms_fault("arbiter")),
    "any signature is good": wrong(_is_signed=lambda self, *arguments, **options: True),
    "nonces never used up": wrong(_use_nonce=never),
    "stake too low is enough": wrong(_stake_fault=never),
    "batch reverts instead of skipping": wrong(deliverBatch=batch_that_reverts),
    "nonces in any order": wrong(_nonce_fault=never),
    "contracts cannot sign": wrong(_is_signed=signed_by_keys_only),
    "former terms are good": wrong(_job_faults=without_mismatch),
    "stake leaves a second early": wrong(is_free=lambda self, leaving: self.command.second >= leaving.available_at - 1),
    "stake leaves a second late": wrong(is_free=lambda self, leaving: self.command.second > leaving.available_at),
    "result minted to nobody": wrong(_mint=never),
}


# ----------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_contracts__random_calls__do_what_the_model_says(chain, cast, seed):
    commands = Player(seed, cast, model_of(chain)).sequence(CALLS)
    model = model_of(chain)

    found = chain.compare(model, commands, LOOK_EVERY)

    if found:
        pytest.fail(shown(chain, cast, Model, commands, found), pytrace=False)
    assert_everything_paid_out(model)
    assert_history_agrees(chain, model)


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_compare__wrong_model__is_caught(chain, first_players, name):
    kind = WRONG_MODELS[name]
    commands = telling_apart(chain, kind, first_players)

    assert chain.compare(model_of(chain, kind), commands, LOOK_EVERY)
    assert not chain.compare(model_of(chain), commands, LOOK_EVERY)


def test_shown__wrong_model__is_a_few_calls_that_still_differ(chain, cast, first_players):
    kind = WRONG_MODELS["bond not slashed on a rejection"]
    commands = telling_apart(chain, kind, first_players)
    found = chain.compare(model_of(chain, kind), commands, LOOK_EVERY)

    first, told, answered, *calls = shown(chain, cast, kind, commands, found).splitlines()

    assert first == f"call {len(calls) - 1}: events"
    assert "BondReleased" in told and "BondSlashed" in answered
    assert len(calls) < len(commands) // 2


def test_player__first_sequences__make_every_call_and_meet_every_error(first_players):
    made, events, errors = set(), set(), set()
    for player in first_players:
        for command, outcome in zip(player.commands, player.outcomes, strict=True):
            events |= {event.name for event in outcome.events or ()}
            errors |= {name for name, *_ in outcome.errors if len(outcome.errors) == 1}
            made |= {command.method} if outcome.succeeds else set()

    abi = [entry for contract in (JobEscrow, OracleRegistry, ResultNFT) for entry in contract.abi]
    changing = [entry for entry in abi if entry.get("stateMutability") in ("payable", "nonpayable")]
    assert declared(changing, "function") - made == FOR_THE_ESCROW | NOT_OURS["function"]
    assert declared(abi, "event") - events == NOT_OURS["event"]
    assert declared(abi, "error") - errors == NOT_OURS["error"]


def test_player__first_sequences__reach_every_end_of_a_job(first_players):
    jobs = [job for player in first_players for job in player.model.books.jobs.values()]
    ends = {(job.state, job.tier) for job in jobs}

    attested = {Tier.STATISTICAL, Tier.REPLAYED, Tier.CANARY, Tier.AGREED, Tier.RULED}
    unjudged = {(state, Tier.UNVERIFIED) for state in TERMINAL}
    settled = {(State.SETTLED, tier) for tier in Tier}
    assert ends == unjudged | settled | {(State.REJECTED, tier) for tier in attested}


def declared(abi: list[dict], kind: str) -> set[str]:
    return {entry["name"] for entry in abi if entry["type"] == kind}


def assert_everything_paid_out(model: Model) -> None:
    """No job lives, nobody is owed anything, and the contracts hold nothing but tokens that were given to them."""
    books, place = model.books, model.place
    assert not [number for number, job in books.jobs.items() if job.deadline]
    assert not any(books.credits.values())
    assert not any(stake.total or stake.locked for stake in books.stakes.values())
    for contract in (place.escrow, place.registry):
        assert books.balances.get((NATIVE, contract), 0) == 0
    for token in place.tokens:
        assert books.balances.get((token, place.escrow), 0) == books.gifts.get(token, 0)


def assert_history_agrees(chain: Chain, model: Model) -> None:
    """What the product reads out of the events is what happened."""
    histories = chain.histories()
    assert list(histories) == list(model.books.jobs)
    for number, job in model.books.jobs.items():
        read = histories[number]
        assert (read.terms, read.state, read.tier) == (job.terms, job.state, job.tier)
        assert (read.to_oracle, read.to_validator, read.to_payer) == job.paid
        assert (read.slashed, read.held) == (job.slashed, 0)
        assert (read.charge, read.result) == (job.charge, model.books.results.get(number))


def shown(chain: Chain, cast: Cast, kind: type[Model], commands: list[Command], found: Mismatch) -> str:
    """The shortest sequence that still differs, and how, with names for addresses."""

    def difference(fewer: list[Command]) -> Mismatch | None:
        return chain.compare(model_of(chain, kind), fewer, LOOK_EVERY)

    fewer = shrink(model_of(chain, kind), commands[: found.index + 1], difference)
    text = "\n".join(map(str, (difference(fewer), *fewer)))
    names = {getattr(cast, each.name): each.name for each in fields(cast)}
    names |= {getattr(chain.place, name): name for name in ("escrow", "registry", "nft", "signed_token")}
    for address, name in {**names, chain.place.tokens[0]: "plain_token", ZERO_ADDRESS: "nobody"}.items():
        text = text.replace(repr(address), name)
    return text


def telling_apart(chain: Chain, kind: type[Model], players: list[Player]) -> list[Command]:
    """A first sequence, up to the call of which the wrong model says what cannot be true when the right one is."""
    for player in players:
        model = model_of(chain, kind)
        for index, (command, right) in enumerate(zip(player.commands, player.outcomes, strict=True), 1):
            said = model.outcome(command)
            if said.events != right.events or (said.errors and not said.errors & right.errors):
                return player.commands[:index]
    pytest.fail("no sequence tells this model from the right one")
