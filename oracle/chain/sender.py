"""Signing and sending: one sender per key and process, every attempt recorded before it is broadcast.

A transaction that was signed may be mined, whatever became of the process that signed it. So the signed bytes go to
an :class:`AttemptLog` first, a restart re-sends those very bytes, and a purpose gets another nonce only once it is
final on chain that nothing signed for it before can have an effect. Everything else shares the nonce.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oracle.chain.attempts import Attempt, AttemptLog, MemoryAttemptLog, unpack
from oracle.chain.contracts import Call
from oracle.chain.failures import endpoint_name, translated
from oracle.chain.fees import FeePolicy, Fees, Market, quantity, read_market
from oracle.jobs.errors import ChainError, ChainUnavailable, QscrowError

GAS_HEADROOM_PERCENT = 25
PLAIN_TRANSFER_GAS = 21_000
RECEIPT_TIMEOUT_SECONDS = 120.0
DISTRUST_SECONDS = 30.0  # after so long without sending, somebody else may have used the key
FRESH_SECONDS = 1.0  # how long prices and a sufficient balance are taken for known
LOOK_SECONDS = 0.05  # how often all callers together ask how many transactions are mined
MAX_PAUSE_SECONDS = 1.0
MAX_PENDING = 10_000  # no mempool holds more of one account; an endpoint that says so would poison the nonces
FALLBACK_FINAL_AFTER = 64  # blocks, where the chain has no `finalized` tag


class TooManyInFlight(ChainUnavailable):
    """Back-pressure: start it again once something has been mined."""


class Overtaken(ChainUnavailable):
    """Another transaction took the attempt's nonce for good: nothing happened, and it can be started again."""


class MinedButReverted(ChainError):
    """The transaction was mined and had no effect."""


@dataclass(frozen=True)
class Receipt:
    """A mined transaction. ``logs`` are raw; ``gas_used`` in gas, ``fee`` in wei."""

    tx_hash: bytes
    block: int
    gas_used: int
    fee: int
    logs: list[Any]


@dataclass(frozen=True)
class Tended:
    """What one :meth:`Sender.tend` did, in nonces; ``in_flight`` are not mined yet."""

    closed: int = 0
    bumped: int = 0
    resent: int = 0
    filled: int = 0
    in_flight: int = 0


@dataclass
class _Flight:
    """A nonce that is not mined as far as we know: its attempts, oldest first, and what this process did with it."""

    attempts: list[Attempt] = field(default_factory=list)
    sent_at: float | None = None  # when an endpoint last took it; None: to be sent at the next occasion
    since: int | None = None  # the block at which we first saw the newest attempt waiting


class Sender:
    """Sends calls signed by one account. Thread-safe; there must be one per key and process.

    A service calls :meth:`start` and polls :meth:`outcome` (neither waits), and calls :meth:`tend` regularly; a
    one-shot command calls :meth:`send`. ``account`` is any :class:`~oracle.chain.signers.Signer`. All methods raise
    :class:`ChainUnavailable` when the endpoint cannot be reached and :class:`ChainError` for its unusable answers.
    """

    def __init__(
        self,
        w3: Any,
        account: Any,
        log: AttemptLog | None = None,
        *,
        policy: FeePolicy | None = None,
        chain_id: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.w3 = w3
        self.account = account
        self.address: str = account.address
        self.policy = policy or FeePolicy()
        self._log = log or MemoryAttemptLog()
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self._endpoint = endpoint_name(w3)
        self._chain_id = chain_id
        self._next: int | None = None  # the next free nonce, while it can be trusted
        self._used_at = 0.0
        self._loaded = False
        self._open: set[int] = set()  # recorded nonces that are not final
        self._flights: dict[int, _Flight] = {}  # those of them that are not mined
        self._mined = 0  # transactions of ours that are mined, i.e. the lowest nonce that is not
        self._final = 0
        self._looked_at: float | None = None
        self._head: bytes | None = None  # the head that was tended last
        self._gap_since: int | None = None
        self._market: tuple[float, int, Market] | None = None  # when it was asked for, and at which block
        self._balance: tuple[float, int] | None = None

    # ------------------------------------------------------------------------------------------ sending

    def send(self, call: Call, purpose: str = "", timeout: float = RECEIPT_TIMEOUT_SECONDS) -> Receipt:
        """:meth:`start` and :meth:`wait`; starts again, within ``timeout`` seconds, what was overtaken or held back.

        Raises :class:`ChainError` (often :class:`~oracle.chain.failures.Reverted`) if the simulation or the
        transaction fails; nothing is signed when the simulation fails.
        """
        give_up = self._clock() + timeout
        for pause in _pauses():
            try:
                return self.wait(self.start(call, purpose), give_up - self._clock())
            except (TooManyInFlight, Overtaken):
                if self._clock() >= give_up:
                    raise
            self._sleep(pause)
        raise AssertionError("unreachable")

    def check(self, call: Call) -> None:
        """Raise the :class:`ChainError` that :meth:`start` would raise now; signs and sends nothing."""
        with translated(self._endpoint):
            self._prepared(call)

    def start(self, call: Call, purpose: str = "") -> Attempt:
        """Check ``call`` by simulation, sign it, record it, broadcast it; does not wait until it is mined.

        With a ``purpose`` this happens once: while a transaction signed for it has or can still have an effect, that
        one is returned and nothing is asked, signed or sent. One that reverted or whose nonce was taken by another is
        replaced by a new one as soon as that is final (until then: :class:`ChainUnavailable`). Raises
        :class:`ChainError` if the simulation fails, and :class:`ChainUnavailable` when the fee caps are below the base
        fee or :class:`TooManyInFlight` are; nothing is signed then. If the connection fails in the broadcast, that is
        raised and the attempt is kept, because it may have arrived.
        """
        with translated(self._endpoint):
            before = self._log.attempts(purpose)[:1] if purpose else []
            standing = self._standing(before)
            if standing is not None:
                return standing
            self._require_room()
            transaction = self._prepared(call)  # outside the lock: it takes most of the time
            with self._lock:
                now = self._log.attempts(purpose)[:1] if purpose else []
                if now != before:
                    return now[0]  # another thread was faster
                self._require_final(now)
                standing = self._standing(now)  # looked up again, now that it cannot change any more
                if standing is not None:
                    return standing
                self._require_room()
                nonce = self._free_nonce()
                attempt = self._signed(purpose or f"{call.label} #{nonce}", {**transaction, "nonce": nonce})
                self._keep(attempt)
                self._next, self._used_at = nonce + 1, self._clock()
                self._broadcast_first(attempt)
                return attempt

    def cancel(self, purpose: str) -> Attempt:
        """Replace what is in flight for ``purpose`` by an empty transfer to ourselves with higher fees.

        Either of the two is mined: :meth:`outcome` of ``purpose`` or of the returned attempt's own purpose tells.
        Raises :class:`ChainError` if nothing is in flight or the fee caps leave no room for a replacement.
        """
        with self._lock, translated(self._endpoint):
            self._look(0)
            newest = next(iter(self._log.attempts(purpose)), None)
            flight = self._flights.get(newest.nonce) if newest else None
            if flight is None:
                raise ChainError(f"nothing is in flight for {purpose!r}", field="purpose")
            own = f"cancel:{purpose}"
            if flight.attempts[-1].purpose == own:
                return flight.attempts[-1]
            attempt = self._replaced(flight, purpose=own, **self._nothing())
            if attempt is None:
                raise ChainError("the fee caps leave no room for a replacement", remedy="raise the caps")
            self._broadcast(attempt)
            return attempt

    # ----------------------------------------------------------------------------------------- watching

    def outcome(self, purpose: str) -> Receipt | None:
        """The receipt of whichever transaction signed for ``purpose`` was mined; ``None`` while none is.

        Costs no request while a recent look says that none can be mined. After a restart or a takeover of the nonce
        ``None`` lasts until :meth:`start` is called again. Raises :class:`MinedButReverted`.
        """
        newest = next(iter(self._log.attempts(purpose)), None)
        if newest is None:
            return None
        with self._lock, translated(self._endpoint):
            self._look(LOOK_SECONDS, newest.nonce)
        return self.receipt(newest) if newest.nonce < self._mined else None

    def receipt(self, attempt: Attempt) -> Receipt | None:
        """The receipt if ``attempt`` or a replacement with its purpose is mined, else ``None``.

        Raises :class:`MinedButReverted`.
        """
        with translated(self._endpoint):
            found = self._found(attempt)
        if found is None:
            return None
        if not found.succeeded:
            raise MinedButReverted(
                f"transaction 0x{found.attempt.tx_hash.hex()} ({attempt.purpose}) was mined but reverted",
                remedy="the job changed meanwhile; look at it with `qscrow inspect`",
            )
        return found.receipt

    def wait(self, attempt: Attempt, timeout: float = RECEIPT_TIMEOUT_SECONDS) -> Receipt:
        """Wait until ``attempt`` or a replacement is mined, tending all the while.

        Raises :class:`ChainUnavailable` after ``timeout`` seconds, :class:`Overtaken`, :class:`MinedButReverted`.
        """
        give_up = self._clock() + timeout
        receipt = self.receipt(attempt)
        for pause in _pauses():
            if receipt is not None:
                return receipt
            if self._clock() >= give_up:
                raise ChainUnavailable(
                    f"{self._endpoint} did not confirm in time", remedy="the transaction may still be mined"
                )
            self._sleep(min(pause, max(give_up - self._clock(), 0)))
            with self._lock, translated(self._endpoint):
                if self._looked_at is None or self._clock() - self._looked_at >= pause:
                    self.tend()  # unless somebody who waits beside us just did
                self._look(LOOK_SECONDS, attempt.nonce)  # what is not in the log is not tended
            if attempt.nonce < self._mined:
                receipt = self.receipt(attempt)
            if receipt is None and attempt.nonce < self._final:
                raise Overtaken(f"another transaction took nonce {attempt.nonce} ({attempt.purpose})")
        raise AssertionError("unreachable")

    def overtaken(self, attempt: Attempt) -> bool:
        """Whether, as of the latest block, another transaction took the attempt's nonce."""
        with translated(self._endpoint):
            return self._count("latest") > attempt.nonce and self._found(attempt) is None

    def in_flight(self) -> int:
        """How many nonces are recorded and not mined, as far as known; asks nobody."""
        return len(self._flights)

    def low_balance(self, threshold_wei: int) -> bool:
        """Whether the account holds less than ``threshold_wei``."""
        with translated(self._endpoint):
            return quantity(self.w3.eth.get_balance(self.address), "balance") < threshold_wei

    # ------------------------------------------------------------------------------------------ tending

    def tend(self) -> Tended:
        """See every open nonce to its end; to be called at every tick.

        Broadcasts again what was dropped, reorganised away or never sent, replaces what is too cheap, fills gaps that
        hold later nonces up, and closes what is final. Asks nothing when nothing is open, once when the head is
        where it was, and otherwise three times plus once for each transaction it sends. Raises :class:`ChainError`
        when a signer fails, after everything else is done.
        """
        with self._lock, translated(self._endpoint):
            self._load()
            if not self._open:
                return Tended()
            head = self.w3.eth.get_block("latest")
            if bytes(head["hash"]) == self._head and not any(map(self._is_due, self._flights.values())):
                self._looked_at = self._clock()
                return Tended(in_flight=len(self._flights))
            number = quantity(head["number"], "block number")
            if self._market is not None and self._market[1] != number:
                self._market = None  # a replacement is to meet the prices of now
            self._look(0)
            bumped, resent, failure = self._push(number)
            try:
                filled = self._fill_gaps(number)
            except QscrowError as err:
                filled, failure = 0, failure or err
            closed = self._close(number)
            self._head = bytes(head["hash"])
        if failure is not None:
            raise failure
        return Tended(closed, bumped, resent, filled, len(self._flights))

    def resend(self, attempt: Attempt) -> None:
        """Broadcast a recorded attempt again; harmless if the network has it or another took its nonce."""
        with self._lock, translated(self._endpoint):
            refusal = self._broadcast(attempt)
            if refusal is not None:
                raise refusal

    def _push(self, number: int) -> tuple[int, int, QscrowError | None]:
        """Replace what waits too long, re-send what is due; returns how many of each, and a signer's failure."""
        bumped, resent, failure = 0, 0, None
        for nonce in sorted(self._flights):
            flight = self._flights[nonce]
            if flight.since is None or flight.since > number:
                flight.since = number
            attempt = None
            waited = number - flight.since >= self.policy.bump_after_blocks
            if waited:
                try:
                    attempt = self._replaced(flight)
                except QscrowError as err:  # the others are not to suffer from it
                    failure = failure or err
            if attempt is not None:
                flight.since = number
                self._broadcast(attempt)
                bumped += 1
            elif waited or self._is_due(flight):  # what the caps forbid to replace may have been dropped as too cheap
                flight.since = number
                self._broadcast_any(flight)
                resent += 1
        return bumped, resent, failure

    def _is_due(self, flight: _Flight) -> bool:
        return flight.sent_at is None or self._clock() - flight.sent_at >= self.policy.resend_seconds

    def _fill_gaps(self, number: int) -> int:
        """Send something for every nonce below a waiting one that nothing of ours is recorded for.

        Another program's transactions may stand there; they get as long as ours before they are replaced.
        """
        highest = max(self._flights, default=0)
        gaps = (nonce for nonce in range(self._mined, highest) if nonce not in self._flights)
        gaps = list(itertools.islice(gaps, self.policy.max_in_flight))
        if not gaps or self._gap_since is None or self._gap_since > number:
            self._gap_since = number if gaps else None
            return 0
        if number - self._gap_since < self.policy.bump_after_blocks:
            return 0
        fees = self.policy.opening(self._prices())
        if fees is None:
            return 0
        for nonce in gaps:
            plain = {**self._nothing(), **fees.fields(), "chainId": self._chain(), "nonce": nonce}
            attempt = self._signed(f"fill:{nonce}", plain)
            self._keep(attempt)
            self._broadcast(attempt)
        return len(gaps)

    def _close(self, number: int) -> int:
        """Close what is final; returns how many nonces."""
        if min(self._open) >= self._mined:
            return 0
        final = self._count_final(number)
        closed = sorted(nonce for nonce in self._open if nonce < final)
        for nonce in closed:
            self._log.close_nonce(self.address, nonce)
            self._open.discard(nonce)
        return len(closed)

    def _replaced(self, flight: _Flight, *, purpose: str | None = None, **changes: Any) -> Attempt | None:
        """A recorded replacement of the flight's newest attempt; ``None`` if the caps allow none."""
        newest = flight.attempts[-1]
        transaction = {**unpack(newest.raw), **changes}
        fees = self.policy.replacement(Fees.of(transaction), self._prices())
        if fees is None:
            return None
        attempt = self._signed(purpose or newest.purpose, {**transaction, **fees.fields()})
        self._keep(attempt)
        return attempt

    # -------------------------------------------------------------------------------- what the chain says

    def _look(self, max_age: float, nonce: int | None = None) -> None:
        """Learn how many of our transactions are mined, unless that is known well enough (for ``nonce``)."""
        self._load()
        now = self._clock()
        fresh = self._looked_at is not None and now - self._looked_at < max_age
        if not fresh and (nonce is None or nonce >= self._mined):
            self._note_mined(self._count("latest"))
            self._looked_at = now

    def _note_mined(self, mined: int) -> None:
        if mined < self._mined:  # a reorganisation took transactions back: they wait again
            self._load(anew=True)
        self._mined = mined
        self._flights = {nonce: flight for nonce, flight in self._flights.items() if nonce >= mined}

    def _load(self, anew: bool = False) -> None:
        """Take up what an earlier process, or we before a reorganisation, left open."""
        if self._loaded and not anew:
            return
        self._flights = {}
        for attempt in self._log.open_attempts(self.address):
            self._flights.setdefault(attempt.nonce, _Flight()).attempts.append(attempt)
        self._open = set(self._flights)
        self._loaded, self._head = True, None

    def _count(self, block: int | str) -> int:
        return quantity(self.w3.eth.get_transaction_count(self.address, block), "transaction count")

    def _count_final(self, number: int | None = None) -> int:
        """How many of our transactions are final; the nonces below can never be used again."""
        from web3.exceptions import Web3RPCError

        after = self.policy.final_after
        if after is None:
            try:
                self._final = max(self._final, self._count("finalized"))
                return self._final
            except Web3RPCError:
                after = FALLBACK_FINAL_AFTER
        if number is None:
            number = quantity(self.w3.eth.get_block("latest")["number"], "block number")
        if number >= after:
            try:
                self._final = max(self._final, self._count(number - after))
            except Web3RPCError as err:
                raise ChainError(
                    f"{self._endpoint} does not know what was {after} blocks ago ({' '.join(str(err).split())[:100]})",
                    remedy="use an endpoint that keeps more, or act on fewer confirmations",
                ) from None
        return self._final

    def _found(self, attempt: Attempt) -> _Found | None:
        """What the chain says about ``attempt`` and the replacements with its purpose: at most one can be mined."""
        same = [other for other in self._log.attempts(attempt.purpose) if other.nonce == attempt.nonce]
        for one in same if attempt in same else [attempt, *same]:
            found = self._mined_receipt(one)
            if found is not None:
                return found
        return None

    def _mined_receipt(self, attempt: Attempt) -> _Found | None:
        from web3.exceptions import TransactionIndexingInProgress, TransactionNotFound

        try:
            mined = self.w3.eth.get_transaction_receipt(attempt.tx_hash)
        except TransactionIndexingInProgress:
            raise ChainUnavailable(f"{self._endpoint} is indexing its transactions", remedy="try again later") from None
        except TransactionNotFound:
            return None
        if mined.get("blockNumber") is None:
            return None
        if bytes(mined["transactionHash"]) != attempt.tx_hash or not isinstance(mined["logs"], list):
            raise ChainError("the endpoint answered with another transaction's receipt", remedy="use another endpoint")
        gas_used = quantity(mined["gasUsed"], "gas used")
        receipt = Receipt(
            tx_hash=attempt.tx_hash,
            block=quantity(mined["blockNumber"], "block number"),
            gas_used=gas_used,
            fee=gas_used * quantity(mined.get("effectiveGasPrice", 0), "gas price"),
            logs=mined["logs"],
        )
        return _Found(attempt, quantity(mined["status"], "status") == 1, receipt)

    def _standing(self, newest: list[Attempt]) -> Attempt | None:
        """The attempt that has or may still have an effect, as far as is known; ``None`` if there is none."""
        if not newest or newest[0].nonce >= self._mined:
            return newest[0] if newest else None
        found = self._found(newest[0])
        return found.attempt if found is not None and found.succeeded else None

    def _require_final(self, newest: list[Attempt]) -> None:
        """Raise unless the nonce of an attempt that came to nothing is out of a reorganisation's reach."""
        if newest and newest[0].nonce >= self._final and newest[0].nonce >= self._count_final():
            raise ChainUnavailable(
                f"nonce {newest[0].nonce} ({newest[0].purpose}) was used in vain, which is not final yet",
                remedy="wait: a second transaction now could make it happen twice",
            )

    # --------------------------------------------------------------------------------- making transactions

    def _prepared(self, call: Call) -> dict[str, Any]:
        """The transaction for ``call`` without a nonce, after it succeeded in a simulation and can be paid."""
        transaction = {"from": self.address, "to": call.to, "data": call.data, "value": call.value}
        self._require_funds(call.value)
        gas = self._estimated(transaction)
        market = self._prices()
        fees = self.policy.opening(market)
        if fees is None:
            raise ChainUnavailable(
                f"gas costs {market.base_fee or market.tip} wei now, above the cap of {self.policy.max_fee_wei} wei",
                remedy="wait until it is cheaper, or raise max_fee_wei",
            )
        limit = gas + gas * GAS_HEADROOM_PERCENT // 100
        self._require_funds(call.value + limit * fees.max_fee)
        del transaction["from"]
        return {**transaction, **fees.fields(), "gas": limit, "chainId": self._chain()}

    def _estimated(self, transaction: dict[str, Any]) -> int:
        try:
            return quantity(self.w3.eth.estimate_gas(transaction), "gas estimate")
        except Exception:
            self.w3.eth.call(transaction)  # a contract's reason comes out of a call in every client
            raise

    def _require_funds(self, needed: int) -> None:
        from oracle.jobs.amounts import format_wei

        asked_at, held = self._balance or (0.0, 0)
        if self._balance is None or held < needed or self._clock() - asked_at >= FRESH_SECONDS:
            held = quantity(self.w3.eth.get_balance(self.address), "balance")
            self._balance = self._clock(), held
        if held < needed:
            raise ChainError(
                f"{self.address} holds {format_wei(held)} and may need {format_wei(needed)}",
                field="account",
                remedy="fund it with native currency",
            )

    def _nothing(self) -> dict[str, Any]:
        """A transaction that only uses a nonce up."""
        return {"to": self.address, "value": 0, "data": "0x", "gas": PLAIN_TRANSFER_GAS}

    def _chain(self) -> int:
        if self._chain_id is None:
            self._chain_id = quantity(self.w3.eth.chain_id, "chain id")
        return self._chain_id

    def _prices(self) -> Market:
        return self._priced()[1]

    def _priced(self) -> tuple[int, Market]:
        """The head, and what gas costs after it."""
        known = self._market
        if known is None or self._clock() - known[0] >= FRESH_SECONDS:
            head = self.w3.eth.get_block("latest")
            known = (self._clock(), quantity(head["number"], "block number"), read_market(self.w3, head))
            self._market = known
        return known[1:]

    def _free_nonce(self) -> int:
        """The next nonce; ours are trusted while they are in steady use."""
        if self._next is None or self._clock() - self._used_at >= DISTRUST_SECONDS:
            self._next = self._agreed_nonce()
        return self._next

    def _require_room(self) -> None:
        """Raise :class:`TooManyInFlight` if it is so."""
        with self._lock:
            self._load()
            if len(self._flights) >= self.policy.max_in_flight:
                self._look(LOOK_SECONDS)
            if len(self._flights) >= self.policy.max_in_flight:
                raise TooManyInFlight(
                    f"{len(self._flights)} transactions are not mined yet", remedy="wait, or raise max_in_flight"
                )

    def _agreed_nonce(self) -> int:
        """What our log and the network know, whichever is more; sends what the network should know and does not."""
        self._look(0)
        pending = self._count("pending")
        if pending > self._mined + MAX_PENDING:
            raise ChainError(f"the endpoint claims {pending} transactions", remedy="use another endpoint")
        for nonce in sorted(self._flights):
            if nonce >= pending:
                self._broadcast_any(self._flights[nonce])
        return max(pending, self._log.next_nonce(self.address))

    def _signed(self, purpose: str, transaction: dict[str, Any]) -> Attempt:
        signed = self.account.sign_transaction(transaction)
        fees = Fees.of(transaction)
        return Attempt(
            purpose=purpose,
            sender=self.address,
            nonce=transaction["nonce"],
            raw=bytes(signed.raw_transaction),
            tx_hash=bytes(signed.hash),
            max_fee=fees.max_fee,
            max_tip=fees.max_tip,
            block=self._priced()[0],
        )

    def _keep(self, attempt: Attempt) -> None:
        """Record an attempt, durably and in memory."""
        self._log.record(attempt)
        flight = self._flights.setdefault(attempt.nonce, _Flight())
        flight.attempts.append(attempt)
        flight.sent_at = flight.since = None
        self._open.add(attempt.nonce)

    # ---------------------------------------------------------------------------------------- broadcasting

    def _broadcast_first(self, attempt: Attempt) -> None:
        """Broadcast a new attempt; a refused one is forgotten, one that may have arrived is kept."""
        try:
            refusal = self._broadcast(attempt)
        except Exception:
            self._next = None
            raise
        if refusal is not None:
            self._next = None
            self._log.forget(attempt)
            self._flights.pop(attempt.nonce)
            self._open.discard(attempt.nonce)
            raise refusal

    def _broadcast_any(self, flight: _Flight) -> None:
        """Broadcast the newest attempt; where that is refused, the one before: the network may hold out for it."""
        for attempt in reversed(flight.attempts):
            if self._broadcast(attempt) is None:
                return

    def _broadcast(self, attempt: Attempt) -> Exception | None:
        """Returns the endpoint's refusal; ``None`` if the network has ``attempt`` or is done with its nonce.

        Raises what leaves it open whether the transaction arrived.
        """
        flight = self._flights.get(attempt.nonce)
        try:
            self.w3.eth.send_raw_transaction(attempt.raw)
            refusal = None
        except Exception as err:
            if not _is_refusal(err):
                raise
            refusal = None if self._is_known(attempt, err) else err
        if flight is not None:
            flight.sent_at = self._clock()
        return refusal

    def _is_known(self, attempt: Attempt, err: Exception) -> bool:
        """Whether a refusal means that the network has the transaction, or another with its nonce already mined."""
        from web3.exceptions import TransactionNotFound

        text = str(err).lower()
        if "nonce too low" in text or self._count("latest") > attempt.nonce:
            self._next = None  # if it was not us: the key is in use elsewhere
            return True
        if "already known" in text or "already imported" in text:
            return True
        try:
            self.w3.eth.get_transaction(attempt.tx_hash)
        except TransactionNotFound:
            return False
        return True


@dataclass(frozen=True)
class _Found:
    attempt: Attempt
    succeeded: bool
    receipt: Receipt


def _is_refusal(err: Exception) -> bool:
    """Whether the endpoint answered and refused, as opposed to not answering or answering with rubbish."""
    from web3.exceptions import Web3RPCError

    in_process = type(err).__module__.partition(".")[0] in ("eth_tester", "eth_utils", "eth")
    return isinstance(err, Web3RPCError) or in_process


def _pauses() -> Any:
    """Seconds between looks: short at first, for chains that mine at once."""
    pause = 0.05
    while True:
        yield pause
        pause = min(pause * 1.5, MAX_PAUSE_SECONDS)
