"""The contracts a second time, in plain Python, written from their documentation: what every call does or why not.

The differential test plays the same calls here and on the real contracts. A call either changes the :class:`Books` and
returns the events it emits, or raises :class:`Refused` and changes nothing. Amounts are in the token's smallest unit or
wei, times in seconds, accounts checksummed addresses. Nothing is hashed or signed here: a signature is a record of who
signed what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any

from oracle.jobs.states import TAKEN, State, Tier
from oracle.jobs.terms import ZERO_ADDRESS, Terms

NATIVE = ZERO_ADDRESS
NO_DIGEST = bytes(32)
FULL_SHARE = 10_000
DAY = 24 * 3600
PROMOTION_NOTICE = 3600
RULING_PERIOD = 14 * DAY
MAX_JOB_DURATION = 366 * DAY
MAX_CHALLENGE_PERIOD = 90 * DAY
UNSTAKING_DELAY = 7 * DAY
UNLIMITED = 2**256 - 1
UNDELIVERED = TAKEN | {State.CREATED}
PROGRESS = range(State.SIMULATED, State.RUNNING + 1)
PAYABLE = frozenset({"createJob", "createJobFor", "createJobs", "promote", "dispute", "register", "addStake"})
NO_REASON = ("",)
"""The error of a call that is refused without a word: value sent where none is taken, or no code to call."""


class Party(IntEnum):
    """``IJobEscrow.Party``."""

    NOBODY = 0
    REQUESTER = 1
    ORACLE = 2


@dataclass(frozen=True)
class Command:
    """One call: ``target`` is escrow, registry, nft or the address of a token."""

    target: str
    method: str
    sender: str
    second: int
    args: tuple = ()
    value: int = 0


@dataclass(frozen=True)
class Signature:
    """Who signed what: ``kind`` is the EIP-712 type, ``content`` its fields, ``verifier`` the contract it is for."""

    signer: str
    verifier: str
    kind: str
    content: tuple


@dataclass(frozen=True)
class Attestation:
    """``IJobEscrow.Attestation``."""

    accepted: bool
    method: int
    distance: int
    report: bytes
    signature: Signature


@dataclass(frozen=True)
class Authorization:
    """``IJobEscrow.Authorization``."""

    valid_after: int
    valid_before: int
    salt: bytes
    signature: Signature


@dataclass(frozen=True)
class Withdrawal:
    """``IJobEscrow.Withdrawal``."""

    account: str
    token: str
    to: str
    fee: int
    nonce: int
    deadline: int


@dataclass(frozen=True)
class BatchedDelivery:
    """``IJobEscrow.BatchedDelivery``; ``attestation`` is None where ``attested`` is false."""

    job: int
    terms: Terms
    charge: int
    result: bytes
    attestation: Attestation | None


@dataclass(frozen=True)
class BatchedVerdict:
    """``IJobEscrow.BatchedVerdict``."""

    job: int
    terms: Terms
    attestation: Attestation


@dataclass(frozen=True)
class Event:
    """One log: who emitted what. ``args`` by the names of the ABI."""

    address: str
    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What comes of a command: its events, or None and the errors one of which it is refused with."""

    events: list[Event] | None
    errors: frozenset[tuple] = frozenset()

    @property
    def succeeds(self) -> bool:
        """Whether the call is made."""
        return self.events is not None


@dataclass(frozen=True)
class Job:
    """A job as it stands. ``paid`` is what its end credited in its token, ``slashed`` what it took of the bond."""

    terms: Terms
    state: State
    deadline: int
    tier: Tier = Tier.UNVERIFIED
    charge: int = 0
    rejected_by: Tier | None = None
    disputed_by: Party = Party.NOBODY
    paid: tuple[int, int, int] = (0, 0, 0)  # to the oracle, the validator, the payer
    slashed: int = 0


@dataclass(frozen=True)
class Stake:
    """An oracle's stake and the part locked as bonds."""

    total: int = 0
    locked: int = 0


@dataclass(frozen=True)
class Unstaking:
    """Stake on its way out."""

    amount: int = 0
    available_at: int = 0


@dataclass
class Books:
    """Everything the contracts and the tokens remember. ``balances`` and ``credits`` go by (token, account)."""

    jobs: dict[int, Job] = field(default_factory=dict)
    credits: dict[tuple[str, str], int] = field(default_factory=dict)
    nonces: dict[tuple[str, int], int] = field(default_factory=dict)
    stakes: dict[str, Stake] = field(default_factory=dict)
    unstaking: dict[str, Unstaking] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    results: dict[int, bytes] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    allowances: dict[tuple[str, str, str], int] = field(default_factory=dict)
    permits: dict[tuple[str, str], int] = field(default_factory=dict)
    authorizations: dict[tuple, bool] = field(default_factory=dict)
    gifts: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Books:
        """Books of their own with the same entries, which are all immutable."""
        return Books(**{each.name: dict(getattr(self, each.name)) for each in fields(self)})


class Refused(Exception):
    """A call that is refused. ``errors`` are the admissible ones, each the name followed by its values.

    One fault has one error. Where several faults hold at once any of theirs will do: which comes first is not
    documented.
    """

    def __init__(self, *errors: tuple):
        super().__init__(errors)
        self.errors = frozenset(errors)


@dataclass(frozen=True)
class Place:
    """Where the contracts are, and how accounts with code behave: ``wallets`` maps an ERC-1271 account to the key it
    answers for, ``refusing`` are those that take no native currency, ``tokens`` those that can be paid in and
    ``signed_token`` the one of them that takes permits and authorisations."""

    escrow: str
    registry: str
    nft: str
    tokens: tuple[str, ...]
    signed_token: str
    wallets: dict[str, str]
    refusing: frozenset[str]


class Model:
    """The contracts. :meth:`play` makes one call; the other public methods are the contracts' external functions."""

    def __init__(self, place: Place, books: Books | None = None):
        self.place = place
        self.books = books or Books()
        self.command = Command("", "", "", 0)
        self.events: list[Event] = []

    def outcome(self, command: Command) -> Outcome:
        """:meth:`play`, with a refusal as an outcome like any other."""
        try:
            return Outcome(self.play(command))
        except Refused as refused:
            return Outcome(None, refused.errors)

    def play(self, command: Command) -> list[Event]:
        """Make the call; returns its events. Raises :class:`Refused`, and then nothing has changed."""
        before, self.command, self.events = self.books.copy(), command, []
        try:
            if command.value and command.method not in PAYABLE:
                raise Refused(NO_REASON)
            receiver = {"escrow": self.place.escrow, "registry": self.place.registry}.get(command.target)
            if command.value:
                self._move(NATIVE, command.sender, receiver, command.value)
            call = getattr(self, command.method)
            call(*((command.target, *command.args) if command.target in self.place.tokens else command.args))
        except Refused:
            self.books = before
            raise
        return self.events

    # ------------------------------------------------------------------------------- rules of the money table

    def charge_cap(self, terms: Terms) -> int:
        """The most an oracle may bill: the validator's fee stays reserved."""
        return terms.budget - terms.validator_fee

    def refund_to(self, terms: Terms) -> str:
        """Who gets what is left of the budget, and slashed bonds."""
        return terms.payer

    def fee_due(self, terms: Terms, verdict: bool) -> int:
        """A validator that gave a verdict, either way, has its fee."""
        return terms.validator_fee if verdict else 0

    def slashed_on_refusal(self, terms: Terms) -> int:
        """What an oracle loses of its bond when a rejecting verdict stands."""
        return terms.bond

    def slashed_on_expiry(self, terms: Terms, state: State) -> int:
        """What an oracle loses of its bond when it accepted a job and let its time run out."""
        return terms.bond if state in TAKEN else 0

    def is_over(self, deadline: int) -> bool:
        """A deadline is the last second in which its phase runs."""
        return self.command.second > deadline

    def deadline_after_rejection(self, job: Job) -> int:
        """A rejecting verdict that is not final starts the challenge period anew."""
        return self.command.second + job.terms.challenge_period

    def split_by_ruling(self, amount: int, share: int) -> tuple[int, int]:
        """(the oracle's part, the other side's); rounding favours the other side."""
        kept = amount * share // FULL_SHARE
        return kept, amount - kept

    def disputers_side(self, job: Job) -> str:
        """Who gets the part of a disputer's bond that the oracle does not: the requester if it put it up itself."""
        return job.terms.requester if job.disputed_by == Party.REQUESTER else job.terms.payer

    def is_free(self, leaving: Unstaking) -> bool:
        """Whether stake on its way out can be taken."""
        return self.command.second >= leaving.available_at

    def can_promote(self, state: State) -> bool:
        """A job is promoted once, after acceptance."""
        return state == State.ACCEPTED

    # ---------------------------------------------------------------------------------- escrow: creating

    def createJob(self, terms: Terms) -> None:
        """The caller is both requester and payer, and pays."""
        sender = self.command.sender
        self._refuse(
            *self._own_job_faults(terms), *self._terms_faults(terms), *self._paying_faults(terms.token, terms.budget)
        )
        self._create(terms)
        self._collect(sender, terms.token, terms.budget)

    def createJobWithPermit(self, terms: Terms, deadline: int, signature: Signature) -> None:
        """A permit that fails is ignored: the allowance may be there already."""
        sender, token = self.command.sender, terms.token
        self._refuse(
            *self._own_job_faults(terms),
            *self._terms_faults(terms),
            token == NATIVE and ("InvalidTerms", "token"),
            token not in (NATIVE, *self.place.tokens) and NO_REASON,
        )
        nonce = self.books.permits.get((token, sender), 0)
        wanted = (sender, self.place.escrow, terms.budget, nonce, deadline)
        signed = self._is_signed(sender, signature, "Permit", wanted, token, keys_only=True)
        if token == self.place.signed_token and signed and not self.is_over(deadline):
            self.books.permits[token, sender] = nonce + 1
            self._approve(token, sender, self.place.escrow, terms.budget)
        self._refuse(*self._token_faults(sender, token, terms.budget))
        self._create(terms)
        self._collect(sender, token, terms.budget)

    def createJobWithAuthorization(self, terms: Terms, authorization: Authorization) -> None:
        """Anyone hands in what the payer, who is the requester, has signed."""
        payer, token = terms.payer, terms.token
        nonce = (terms, authorization.salt)
        wanted = (payer, self.place.escrow, terms.budget, authorization.valid_after, authorization.valid_before, nonce)
        runs = authorization.valid_after < self.command.second < authorization.valid_before
        signed = self._is_signed(
            payer, authorization.signature, "ReceiveWithAuthorization", wanted, token, keys_only=True
        )
        used = self.books.authorizations.get((token, payer, nonce), False)
        able = token == self.place.signed_token
        self._refuse(
            terms.requester != payer and ("InvalidTerms", "payer"),
            token == NATIVE and ("InvalidTerms", "token"),
            *self._terms_faults(terms),
            token != NATIVE and not able and NO_REASON,
            able and not runs and ("Error", "authorization is not valid now"),
            able and used and ("Error", "authorization is used"),
            able and not signed and ("Error", "invalid signature"),
            able and self._balance_fault(payer, token, terms.budget),
        )
        self.books.authorizations[token, payer, nonce] = True
        self._create(terms)
        self._transfer(token, payer, self.place.escrow, terms.budget)

    def createJobFor(self, terms: Terms, nonce: int, signature: Signature) -> None:
        """The requester signs, the caller pays and gets the refunds."""
        sender = self.command.sender
        signed = self._is_signed(terms.requester, signature, "CreateJob", (terms, nonce))
        self._refuse(
            sender != terms.payer and ("InvalidTerms", "payer"),
            self._nonce_fault(terms.requester, nonce),
            not signed and ("InvalidSignature", terms.requester),
            *self._terms_faults(terms),
            *self._paying_faults(terms.token, terms.budget),
        )
        self._use_nonce(terms.requester, nonce)
        self._create(terms)
        self._collect(sender, terms.token, terms.budget)

    def createJobs(self, batch: tuple[Terms, ...]) -> None:
        """Several own jobs in one token."""
        token = batch[0].token if batch else NATIVE
        total = sum(terms.budget for terms in batch)
        faults = [*self._paying_faults(token, total)]
        for terms in batch:
            faults += [*self._own_job_faults(terms), *self._terms_faults(terms)]
            faults.append(terms.token != token and ("InvalidTerms", "token"))
        self._refuse(*faults)
        for terms in batch:
            self._create(terms)
        self._collect(self.command.sender, token, total)

    # ------------------------------------------------------------------------------ escrow: before delivery

    def cancel(self, number: int, terms: Terms) -> None:
        """The requester takes back what nobody has accepted."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, {State.CREATED}),
            self.command.sender != terms.requester and self._not_allowed(number),
        )
        self._end_undelivered(number, job, State.CANCELLED)

    def accept(self, number: int, terms: Terms) -> None:
        """The oracle takes the job and locks its bond; on an open job it becomes the oracle."""
        job, sender = self._job(number), self.command.sender
        barred = sender in (terms.validator, terms.arbiter) if terms.is_open else sender != terms.oracle
        self._refuse(
            *self._job_faults(number, terms, {State.CREATED}),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            barred and self._not_allowed(number),
            self._stake_fault(sender, terms.bond),
        )
        self._set(number, replace(job, terms=terms.taken_by(sender), state=State.ACCEPTED, deadline=terms.deliver_by))
        self._changed(number, State.ACCEPTED)
        self._lock(sender, terms.bond)

    def reject(self, number: int, terms: Terms, reason: bytes) -> None:
        """The addressed oracle declines, whenever it likes."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, {State.CREATED}),
            self.command.sender != terms.oracle and self._not_allowed(number),
        )
        self._end_undelivered(number, job, State.REJECTED, reason)

    def fail(self, number: int, terms: Terms, reason: bytes) -> None:
        """The oracle gives up in time and has its bond back."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, TAKEN),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            self.command.sender != terms.oracle and self._not_allowed(number),
        )
        self._end_undelivered(number, job, State.FAILED, reason)
        self._release(terms.oracle, terms.bond)

    def claimRefund(self, number: int, terms: Terms) -> None:
        """Anyone ends a job whose time ran out before a delivery; an oracle that had taken it loses its bond."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, UNDELIVERED),
            not self.is_over(job.deadline) and ("TooEarly", number, job.deadline),
        )
        slashed = self.slashed_on_expiry(terms, job.state)
        self._end_undelivered(number, replace(job, slashed=slashed), State.EXPIRED)
        self._slash(terms, slashed)
        if job.state in TAKEN:
            self._release(terms.oracle, terms.bond - slashed)

    def promote(self, number: int, terms: Terms, extra: int, evidence: bytes) -> None:
        """The requester approves hardware, once, and may add to the budget if it is the payer."""
        job, sender = self._job(number), self.command.sender
        last = job.deadline - PROMOTION_NOTICE
        budget = terms.budget + extra
        self._refuse(
            *self._job_faults(number, terms, {state for state in State if self.can_promote(state)}),
            sender != terms.requester and self._not_allowed(number),
            self.is_over(last) and ("TooLate", number, last),
            extra and sender != terms.payer and ("InvalidTerms", "payer"),
            budget >= 2**96 and ("Panic", 0x11),
            *self._paying_faults(terms.token, extra),
        )
        self._set(number, replace(job, terms=terms.promoted_to(budget), state=State.APPROVED))
        self._emit("JobPromoted", jobId=number, requester=sender, budget=budget, evidence=evidence)
        self._collect(sender, terms.token, extra)

    def report(self, numbers: tuple[int, ...], states: tuple[int, ...], evidence: tuple[bytes, ...]) -> None:
        """Anyone says anything about jobs not delivered; readers listen to the oracle."""
        if len({len(numbers), len(states), len(evidence)}) > 1:
            raise Refused(("LengthMismatch",))
        for number, state, digest in zip(numbers, states, evidence, strict=True):
            current = self._state(number)
            self._refuse(
                state not in PROGRESS and ("WrongState", number, state),
                state in PROGRESS and current not in UNDELIVERED and ("WrongState", number, current),
            )
            self._changed(number, state, digest)

    # ----------------------------------------------------------------------- escrow: delivering and judging

    def deliver(self, number: int, terms: Terms, charge: int, result: bytes) -> None:
        """Settles at once where nobody is named who could object."""
        job = self._job(number)
        waits = terms.challenge_period != 0
        bonded = job.state in TAKEN
        self._refuse(
            *self._delivery_faults(number, job, terms, charge, result),
            waits and not bonded and self._stake_fault(terms.oracle, terms.bond),
        )
        if waits:
            deadline = self.command.second + terms.challenge_period
            self._set(number, replace(job, state=State.COMPLETED, deadline=deadline, charge=charge))
            self._delivered(number, result, charge, State.COMPLETED, Tier.UNVERIFIED)
            if not bonded:
                self._lock(terms.oracle, terms.bond)
        else:
            self._split(number, replace(job, charge=charge), State.SETTLED, Tier.UNVERIFIED, charge, 0)
            self._delivered(number, result, charge, State.SETTLED, Tier.UNVERIFIED)
            if bonded:
                self._release(terms.oracle, terms.bond)
        self._mint(terms.requester, number, result)

    def deliverAttested(self, number: int, terms: Terms, charge: int, result: bytes, attestation: Attestation) -> None:
        """A delivery that carries an accepting verdict settles at once."""
        job = self._job(number)
        self._refuse(
            *self._delivery_faults(number, job, terms, charge, result),
            self._attestation_fault(number, terms, result, attestation),
            not attestation.accepted and ("RejectingAttestation", number),
        )
        tier = Tier(Tier.STATISTICAL + attestation.method)
        self._validated(number, terms, attestation)
        self._split(number, replace(job, charge=charge), State.SETTLED, tier, charge, self.fee_due(terms, True))
        self._delivered(number, result, charge, State.SETTLED, tier)
        if job.state in TAKEN:
            self._release(terms.oracle, terms.bond)
        self._mint(terms.requester, number, result)

    def deliverBatch(self, batch: tuple[BatchedDelivery, ...]) -> None:
        """What others or time have spoiled is skipped."""
        for item in batch:
            job = self.books.jobs.get(item.job)
            if job is None or job.state not in UNDELIVERED or not self._is_current(job, item.terms):
                continue
            if item.attestation is None:
                self.deliver(item.job, item.terms, item.charge, item.result)
            else:
                self.deliverAttested(item.job, item.terms, item.charge, item.result, item.attestation)

    def validate(self, number: int, terms: Terms, attestation: Attestation) -> None:
        """Acceptance settles; rejection is final without an arbiter, and otherwise waits for the oracle's answer."""
        job = self._job(number)
        result = self.books.results.get(number)
        self._refuse(
            *self._job_faults(number, terms, {State.COMPLETED}),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            job.rejected_by is not None and ("AlreadyJudged", number),
            self._attestation_fault(number, terms, result, attestation),
        )
        self._validated(number, terms, attestation)
        tier = Tier(Tier.STATISTICAL + attestation.method)
        if attestation.accepted:
            self._end(number, job, State.SETTLED, tier, job.charge, self.fee_due(terms, True), 0)
        elif terms.arbiter == ZERO_ADDRESS:
            self._let_rejection_stand(number, replace(job, rejected_by=tier))
        else:
            self._set(number, replace(job, rejected_by=tier, deadline=self.deadline_after_rejection(job)))

    def validateBatch(self, batch: tuple[BatchedVerdict, ...]) -> None:
        """What others or time have spoiled is skipped."""
        for item in batch:
            job = self.books.jobs.get(item.job)
            if job is None or job.state != State.COMPLETED or not self._is_current(job, item.terms):
                continue
            if job.rejected_by is None:
                self.validate(item.job, item.terms, item.attestation)

    def dispute(self, number: int, terms: Terms, evidence: bytes) -> None:
        """Requester or oracle calls the arbiter, with a bond as high as the oracle's."""
        job, command = self._job(number), self.command
        self._refuse(
            *self._job_faults(number, terms, {State.COMPLETED}),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            terms.arbiter == ZERO_ADDRESS and ("InvalidTerms", "arbiter"),
            command.value != terms.bond and ("WrongValue", command.value, terms.bond),
            command.sender not in (terms.requester, terms.oracle) and self._not_allowed(number),
        )
        by = Party.REQUESTER if command.sender == terms.requester else Party.ORACLE
        deadline = command.second + RULING_PERIOD
        self._set(number, replace(job, state=State.DISPUTED, deadline=deadline, disputed_by=by))
        self._changed(number, State.DISPUTED, evidence)
        self._emit("MetadataUpdate", self.place.nft, _tokenId=number)

    def submitEvidence(self, number: int, terms: Terms, evidence: bytes) -> None:
        """The four parties to a dispute may speak."""
        self._job(number)
        parties = (terms.requester, terms.payer, terms.oracle, terms.validator)
        self._refuse(
            *self._job_faults(number, terms, {State.DISPUTED}),
            self.command.sender not in parties and self._not_allowed(number),
        )
        self._emit("JobEvidence", jobId=number, party=self.command.sender, evidence=evidence)

    def rule(self, number: int, terms: Terms, share: int) -> None:
        """The arbiter splits the charge and both bonds in one proportion."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, {State.DISPUTED}),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            self.command.sender != terms.arbiter and self._not_allowed(number),
            share > FULL_SHARE and ("ShareTooHigh", share),
        )
        to_oracle, _ = self.split_by_ruling(job.charge, share)
        kept, slashed = self.split_by_ruling(terms.bond, share)
        self._credit(NATIVE, terms.oracle, kept)
        self._credit(NATIVE, self.disputers_side(job), slashed)
        fee = self.fee_due(terms, job.rejected_by is not None)
        self._end(number, job, State.SETTLED if share else State.REJECTED, Tier.RULED, to_oracle, fee, slashed)

    def settle(self, number: int, terms: Terms) -> None:
        """Anyone ends a delivered job that nobody speaks about any more; a silent arbiter changes nothing."""
        job = self._job(number)
        self._refuse(
            *self._job_faults(number, terms, {State.COMPLETED, State.DISPUTED}),
            not self.is_over(job.deadline) and ("TooEarly", number, job.deadline),
        )
        disputer = {Party.REQUESTER: terms.requester, Party.ORACLE: terms.oracle}.get(job.disputed_by)
        if disputer is not None:
            self._credit(NATIVE, disputer, terms.bond)
        if job.rejected_by is not None:
            self._let_rejection_stand(number, job)
        else:
            self._end(number, job, State.SETTLED, Tier.UNCHALLENGED, job.charge, self.fee_due(terms, False), 0)

    # -------------------------------------------------------------------------------------- escrow: payments

    def withdraw(self, token: str, to: str) -> None:
        """The only way value leaves."""
        sender = self.command.sender
        credit = self.books.credits.get((token, sender), 0)
        self._refuse(credit == 0 and ("NothingToWithdraw", sender, token), *self._sending_faults(token, to, credit))
        self.books.credits[token, sender] = 0
        self._send_credit(sender, token, to, credit)

    def withdrawFor(self, wish: Withdrawal, signature: Signature) -> None:
        """The same for whoever signed; the relayer is credited the fee."""
        account, token = wish.account, wish.token
        credit = self.books.credits.get((token, account), 0)
        content = (account, token, wish.to, wish.fee, wish.nonce, wish.deadline)
        amount = credit - wish.fee
        self._refuse(
            self.is_over(wish.deadline) and ("SignatureExpired", wish.deadline),
            self._nonce_fault(account, wish.nonce),
            not self._is_signed(account, signature, "Withdrawal", content) and ("InvalidSignature", account),
            credit == 0 and ("NothingToWithdraw", account, token),
            credit and wish.fee > credit and ("FeeTooHigh", wish.fee, credit),
            *self._sending_faults(token, wish.to, amount),
        )
        self._use_nonce(account, wish.nonce)
        self.books.credits[token, account] = 0
        if wish.fee:
            relayer = self.command.sender
            self._credit(token, relayer, wish.fee)
            self._emit("RelayerCredited", account=account, relayer=relayer, token=token, fee=wish.fee)
        self._send_credit(account, token, wish.to, amount)

    # ---------------------------------------------------------------------------------------------- registry

    def register(self, sealing_key: bytes, profile: bytes) -> None:
        """Publish key and profile, for the first time or anew; value is stake."""
        sender, value = self.command.sender, self.command.value
        self._refuse(sealing_key == NO_DIGEST and ("EmptyKey",), self._stake_size_fault(value))
        self.books.keys[sender] = (sealing_key, profile)
        self._emit("OracleRegistered", self.place.registry, oracle=sender, sealingKey=sealing_key, profile=profile)
        if value:
            self._add_stake(value)

    def addStake(self) -> None:
        """Value is stake."""
        value = self.command.value
        self._refuse(value == 0 and ("ZeroAmount",), self._stake_size_fault(value))
        self._add_stake(value)

    def requestUnstake(self, amount: int) -> None:
        """Free stake starts on its way out; every request starts the delay anew."""
        sender = self.command.sender
        self._refuse(amount == 0 and ("ZeroAmount",), self._stake_fault(sender, amount))
        stake = self._stake(sender)
        leaving = self.books.unstaking.get(sender, Unstaking())
        at = self.command.second + UNSTAKING_DELAY
        self.books.stakes[sender] = replace(stake, total=stake.total - amount)
        self.books.unstaking[sender] = Unstaking(leaving.amount + amount, at)
        self._emit("UnstakeRequested", self.place.registry, oracle=sender, amount=amount, availableAt=at)

    def unstake(self, to: str) -> None:
        """Take it from ``available_at`` on."""
        sender = self.command.sender
        leaving = self.books.unstaking.get(sender, Unstaking())
        early = leaving.amount and not self.is_free(leaving)
        self._refuse(
            to in (ZERO_ADDRESS, self.place.escrow) and ("InvalidRecipient",),  # which owes it to nobody
            leaving.amount == 0 and ("ZeroAmount",),
            early and ("StillLocked", leaving.available_at),
            leaving.amount and to in self.place.refusing and ("TransferFailed", to, leaving.amount),
        )
        self.books.unstaking[sender] = Unstaking()
        self._emit("Unstaked", self.place.registry, oracle=sender, to=to, amount=leaving.amount)
        self._move(NATIVE, self.place.registry, to, leaving.amount)

    def lock(self, oracle: str, amount: int) -> None:
        """Escrow only, and the escrow sends no commands."""
        raise Refused(("OnlyEscrow", self.command.sender))

    release = slash = lock

    # ------------------------------------------------------------------------------------------- result NFT

    def mint(self, *arguments: object) -> None:
        """Escrow only."""
        raise Refused(("OnlyEscrow", self.command.sender))

    announceUpdate = mint

    def transferFrom(self, owner: str, to: str, token_id: int) -> None:
        """An owner passes a result on; who may dispute it does not change."""
        sender, holder = self.command.sender, self.books.owners.get(token_id)
        if holder is None:
            raise Refused(*([("ERC721InvalidReceiver", to)] if to == ZERO_ADDRESS else []), self._no_token(token_id))
        self._refuse(
            to == ZERO_ADDRESS and ("ERC721InvalidReceiver", to),
            sender != holder and ("ERC721InsufficientApproval", sender, token_id),
            owner != holder and ("ERC721IncorrectOwner", owner, token_id, holder),
        )
        self.books.owners[token_id] = to
        self._emit("Transfer", self.place.nft, **{"from": owner, "to": to, "tokenId": token_id})

    # ---------------------------------------------------------------------------------------------- tokens

    def approve(self, token: str, spender: str, amount: int) -> None:
        """ERC-20."""
        self._refuse(spender == ZERO_ADDRESS and ("ERC20InvalidSpender", spender))
        self._approve(token, self.command.sender, spender, amount)

    def transfer(self, token: str, to: str, amount: int) -> None:
        """ERC-20; to the escrow it is a gift that nobody can take out."""
        self._refuse(
            to == ZERO_ADDRESS and ("ERC20InvalidReceiver", to),
            self._balance_fault(self.command.sender, token, amount),
        )
        if to == self.place.escrow:
            self.books.gifts[token] = self.books.gifts.get(token, 0) + amount
        self._transfer(token, self.command.sender, to, amount)

    # ---------------------------------------------------------------------------------------- what is wrong

    @staticmethod
    def _refuse(*faults: object) -> None:
        """Refuse the call for those of ``faults`` that are errors; the others are falsy."""
        found = [fault for fault in faults if fault]
        if found:
            raise Refused(*found)

    def _job_faults(self, number: int, terms: Terms, allowed: Iterable[State]) -> list:
        job = self._job(number)
        return [
            terms != job.terms and ("TermsMismatch", number),
            job.state not in allowed and ("WrongState", number, job.state),
        ]

    def _own_job_faults(self, terms: Terms) -> list:
        sender = self.command.sender
        return [
            terms.requester != sender and ("InvalidTerms", "requester"),
            terms.payer != sender and ("InvalidTerms", "payer"),
        ]

    def _terms_faults(self, terms: Terms) -> list:
        now = self.command.second
        validated, arbitrated = terms.validator != ZERO_ADDRESS, terms.arbiter != ZERO_ADDRESS
        challenged = terms.challenge_period != 0
        highest_fee = terms.budget - 1 if validated else 0
        wrong = {
            "budget": terms.budget == 0,
            "spec": terms.spec == NO_DIGEST,
            "sealTo": terms.seal_to == NO_DIGEST,
            "acceptBy": terms.accept_by < now,
            "deliverBy": not terms.accept_by <= terms.deliver_by <= now + MAX_JOB_DURATION,
            "challengePeriod": terms.challenge_period > MAX_CHALLENGE_PERIOD or challenged != (validated or arbitrated),
            "bond": terms.is_open and terms.bond == 0,
            "validator": validated and terms.validator == terms.oracle,
            "arbiter": arbitrated and terms.arbiter == terms.oracle,
            "validatorFee": terms.validator_fee > highest_fee,
        }
        return [("InvalidTerms", name) for name, is_wrong in wrong.items() if is_wrong]

    def _delivery_faults(self, number: int, job: Job, terms: Terms, charge: int, result: bytes) -> list:
        cap = self.charge_cap(terms)
        return [
            *self._job_faults(number, terms, UNDELIVERED),
            self.command.sender != terms.oracle and self._not_allowed(number),
            self.is_over(job.deadline) and ("TooLate", number, job.deadline),
            result == NO_DIGEST and ("EmptyResult", number),
            charge > cap and ("ChargeTooHigh", number, charge, cap),
        ]

    def _attestation_fault(self, number: int, terms: Terms, result: bytes | None, given: Attestation) -> object:
        content = (number, terms, result, given.accepted, given.method, given.distance, given.report)
        signed = self._is_signed(terms.validator, given.signature, "Attestation", content)
        return not signed and ("InvalidAttestation", number)

    def _paying_faults(self, token: str, amount: int) -> list:
        """What keeps the caller from paying ``amount`` with this call."""
        value = self.command.value
        if token == NATIVE:
            return [value != amount and ("WrongValue", value, amount)]
        return [value and ("WrongValue", value, 0), *self._token_faults(self.command.sender, token, amount)]

    def _token_faults(self, owner: str, token: str, amount: int) -> list:
        if token not in self.place.tokens:
            return [NO_REASON]
        allowance = self.books.allowances.get((token, owner, self.place.escrow), 0)
        return [
            allowance < amount and ("ERC20InsufficientAllowance", self.place.escrow, allowance, amount),
            self._balance_fault(owner, token, amount),
        ]

    def _balance_fault(self, owner: str, token: str, amount: int) -> object:
        balance = self._balance(token, owner)
        return balance < amount and ("ERC20InsufficientBalance", owner, balance, amount)

    def _sending_faults(self, token: str, to: str, amount: int) -> list:
        return [
            to in (ZERO_ADDRESS, self.place.escrow) and ("InvalidRecipient",),  # which owes it to nobody
            token == NATIVE and to in self.place.refusing and ("TransferFailed", to, amount),
        ]

    def _nonce_fault(self, account: str, nonce: int) -> object:
        key, sequence = nonce >> 64, nonce % 2**64
        expected = self.books.nonces.get((account, key), 0)
        return sequence != expected and ("InvalidAccountNonce", account, (key << 64) + expected)

    def _stake_fault(self, oracle: str, amount: int) -> object:
        stake = self._stake(oracle)
        free = stake.total - stake.locked
        return free < amount and ("InsufficientStake", oracle, free, amount)

    def _stake_size_fault(self, value: int) -> object:
        stake = self._stake(self.command.sender).total + value
        return stake >= 2**128 and ("StakeTooLarge", stake)

    def _not_allowed(self, number: int) -> tuple:
        return ("NotAllowed", number, self.command.sender)

    @staticmethod
    def _no_token(token_id: int) -> tuple:
        return ("ERC721NonexistentToken", token_id)

    def _is_signed(
        self,
        account: str,
        signature: Signature,
        kind: str,
        content: tuple,
        verifier: str | None = None,
        *,
        keys_only: bool = False,
    ) -> bool:
        """Whether ``account``, or the key that a contract account answers for, signed just this for this contract."""
        wanted = Signature(signature.signer, verifier or self.place.escrow, kind, content)
        key = account if keys_only else self.place.wallets.get(account, account)
        return signature == wanted and signature.signer == key != ZERO_ADDRESS

    def _is_current(self, job: Job, terms: Terms) -> bool:
        return job.terms == terms and not self.is_over(job.deadline)

    # ------------------------------------------------------------------------------------------ what happens

    def _job(self, number: int) -> Job:
        if number not in self.books.jobs:
            raise Refused(("WrongState", number, State.NONE))
        return self.books.jobs[number]

    def _state(self, number: int) -> State:
        return self.books.jobs[number].state if number in self.books.jobs else State.NONE

    def _set(self, number: int, job: Job) -> None:
        self.books.jobs[number] = job

    def _create(self, terms: Terms) -> None:
        number = len(self.books.jobs) + 1
        self._set(number, Job(terms, State.CREATED, terms.accept_by))
        self._emit("JobCreated", jobId=number, requester=terms.requester, oracle=terms.oracle, terms=terms)

    def _end_undelivered(self, number: int, job: Job, state: State, reason: bytes = NO_DIGEST) -> None:
        """The payer has the whole budget back."""
        self._set(number, replace(job, state=state, deadline=0, paid=(0, 0, job.terms.budget)))
        self._changed(number, state, reason)
        self._credit(job.terms.token, self.refund_to(job.terms), job.terms.budget)

    def _let_rejection_stand(self, number: int, job: Job) -> None:
        """The oracle gets nothing and its bond goes to the payer."""
        slashed = self.slashed_on_refusal(job.terms)
        self._end(number, job, State.REJECTED, job.rejected_by, 0, self.fee_due(job.terms, True), slashed)

    def _end(
        self, number: int, job: Job, state: State, tier: Tier, to_oracle: int, to_validator: int, slashed: int
    ) -> None:
        """Ends a job some time after its delivery: budget and bond go where they belong."""
        terms = job.terms
        self._split(number, replace(job, slashed=slashed), state, tier, to_oracle, to_validator)
        amounts = {"toOracle": to_oracle, "toValidator": to_validator, "slashed": slashed}
        self._emit("JobSettled", jobId=number, state=state, tier=tier, **amounts)
        self._slash(terms, slashed)
        self._release(terms.oracle, terms.bond - slashed)
        self._emit("MetadataUpdate", self.place.nft, _tokenId=number)

    def _split(self, number: int, job: Job, state: State, tier: Tier, to_oracle: int, to_validator: int) -> None:
        terms = job.terms
        paid = (to_oracle, to_validator, terms.budget - to_oracle - to_validator)
        self._set(number, replace(job, state=state, tier=tier, deadline=0, paid=paid))
        for account, amount in zip((terms.oracle, terms.validator, self.refund_to(terms)), paid, strict=True):
            self._credit(terms.token, account, amount)

    def _credit(self, token: str, account: str, amount: int) -> None:
        self.books.credits[token, account] = self.books.credits.get((token, account), 0) + amount

    def _use_nonce(self, account: str, nonce: int) -> None:
        self.books.nonces[account, nonce >> 64] = nonce % 2**64 + 1

    def _send_credit(self, account: str, token: str, to: str, amount: int) -> None:
        self._emit("Withdrawn", account=account, token=token, to=to, amount=amount)
        if token == NATIVE:
            self._move(NATIVE, self.place.escrow, to, amount)
        else:
            self._transfer(token, self.place.escrow, to, amount)

    # ------------------------------------------------------------------------------------ stakes and results

    def _stake(self, oracle: str) -> Stake:
        return self.books.stakes.get(oracle, Stake())

    def _add_stake(self, amount: int) -> None:
        sender, stake = self.command.sender, self._stake(self.command.sender)
        self.books.stakes[sender] = replace(stake, total=stake.total + amount)
        self._emit("StakeAdded", self.place.registry, oracle=sender, amount=amount, stake=stake.total + amount)

    def _lock(self, oracle: str, amount: int) -> None:
        self._move_bond("BondLocked", oracle, amount, locked=amount)

    def _release(self, oracle: str, amount: int) -> None:
        self._move_bond("BondReleased", oracle, amount, locked=-amount)

    def _slash(self, terms: Terms, amount: int) -> None:
        """The bond comes to the escrow, which owes it to the payer."""
        self._move_bond("BondSlashed", terms.oracle, amount, locked=-amount, total=-amount)
        self._credit(NATIVE, self.refund_to(terms), amount)
        self._move(NATIVE, self.place.registry, self.place.escrow, amount)

    def _move_bond(self, name: str, oracle: str, amount: int, *, locked: int, total: int = 0) -> None:
        if amount == 0:
            return
        stake = self._stake(oracle)
        self.books.stakes[oracle] = Stake(stake.total + total, stake.locked + locked)
        self._emit(name, self.place.registry, oracle=oracle, amount=amount)

    def _mint(self, to: str, number: int, result: bytes) -> None:
        self.books.owners[number] = to
        self.books.results[number] = result
        self._emit("Transfer", self.place.nft, **{"from": ZERO_ADDRESS, "to": to, "tokenId": number})

    # ------------------------------------------------------------------------------------------------ value

    def _balance(self, token: str, account: str) -> int:
        return self.books.balances.get((token, account), 0)

    def _collect(self, payer: str, token: str, amount: int) -> None:
        """Value has come with the call; tokens are fetched from the allowance."""
        if token == NATIVE:
            return
        key = (token, payer, self.place.escrow)
        if self.books.allowances.get(key, 0) != UNLIMITED:
            self.books.allowances[key] = self.books.allowances.get(key, 0) - amount
        self._transfer(token, payer, self.place.escrow, amount)

    def _transfer(self, token: str, owner: str, to: str, amount: int) -> None:
        self._move(token, owner, to, amount)
        self._emit("Transfer", token, **{"from": owner, "to": to, "value": amount})

    def _approve(self, token: str, owner: str, spender: str, amount: int) -> None:
        self.books.allowances[token, owner, spender] = amount
        self._emit("Approval", token, owner=owner, spender=spender, value=amount)

    def _move(self, token: str, owner: str, to: str, amount: int) -> None:
        self.books.balances[token, owner] = self._balance(token, owner) - amount
        self.books.balances[token, to] = self._balance(token, to) + amount

    # ----------------------------------------------------------------------------------------------- events

    def _emit(self, name: str, address: str | None = None, **args: object) -> None:
        self.events.append(Event(address or self.place.escrow, name, args))

    def _changed(self, number: int, state: int, evidence: bytes = NO_DIGEST) -> None:
        self._emit("JobStateChanged", jobId=number, state=state, actor=self.command.sender, evidence=evidence)

    def _delivered(self, number: int, result: bytes, charge: int, state: State, tier: Tier) -> None:
        self._emit(
            "JobDelivered",
            jobId=number,
            oracle=self.command.sender,
            result=result,
            charge=charge,
            state=state,
            tier=tier,
        )

    def _validated(self, number: int, terms: Terms, given: Attestation) -> None:
        self._emit(
            "JobValidated",
            jobId=number,
            validator=terms.validator,
            accepted=given.accepted,
            method=given.method,
            distance=given.distance,
            report=given.report,
        )
