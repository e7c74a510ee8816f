"""Several JSON-RPC endpoints of one chain behind one web3 provider; any of them may fail, lag or lie about its chain.

A request goes to the endpoint in use; if that fails, to the next, and the one that failed is left alone for a while. A
transaction goes to all of them. JSON-RPC errors are answers (a revert, a nonce too low) and are passed on, but for
those by which a provider says that it cannot serve now.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from oracle.chain.failures import shown_url
from oracle.jobs.backoff import pause
from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import ChainUnavailable

TIMEOUT_SECONDS = 10.0
LOGS_TIMEOUT_SECONDS = 30.0
OTHER_CHAIN = "other chain"
PROBE_SECONDS = 15.0
PROBE_TIMEOUT_SECONDS = 3.0
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
MAX_ANSWER_BYTES = 64 * 2**20
MAX_ANSWER_DEPTH = 32
BEHIND_BLOCKS = 10  # an endpoint this far behind the best one is not asked
_BROADCAST = "eth_sendRawTransaction"
_LOGS = "eth_getLogs"
_BUSY = re.compile(
    r"rate.?limit|too many requests|request.?limit|quota|capacity|try again|busy|overloaded"
    r"|header not found|missing trie node|unknown block|block not found|state (is )?not available",
    re.IGNORECASE,
)
# Said of a range of logs, this is about the question and not about the endpoint.
_TOO_MUCH = re.compile(r"results|range|response size|log", re.IGNORECASE)
_KNOWN = re.compile(r"already known|already imported|known transaction", re.IGNORECASE)


@dataclass(frozen=True)
class Health:
    """One endpoint as it looks now. ``name`` shows no credentials; ``seconds`` is the last answer's latency."""

    name: str
    state: str  # ok, failing, behind or other chain
    failures: int
    reason: str
    head: int | None
    seconds: float | None


class _Trouble(Exception):
    """The endpoint gave no answer that can be used; ``retry_after`` seconds if it said so."""

    def __init__(self, reason: str, retry_after: float | None = None):
        self.retry_after = retry_after
        super().__init__(reason)


@dataclass
class _Endpoint:
    url: str
    http: Any
    headers: dict[str, str]
    failures: int = 0
    reason: str = ""
    resting_until: float = 0.0
    chain_id: int | None = None
    head: int | None = None
    seconds: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, body: bytes, timeout: float) -> dict[str, Any]:
        """The JSON-RPC answer to ``body``. Raises :class:`_Trouble`."""
        import urllib3

        started = time.perf_counter()
        try:
            answer = self.http.request(
                "POST", self.url, body=body, headers=self.headers, timeout=timeout, preload_content=False
            )
            try:
                content = answer.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as err:
            raise _Trouble(type(err).__name__) from None
        self.seconds = time.perf_counter() - started
        if answer.status != 200 and not content.startswith(b"{"):
            raise _Trouble(f"HTTP {answer.status}", _retry_after(answer.headers.get("Retry-After", "")))
        if answer.status == 429 or answer.status >= 500:
            raise _Trouble(f"HTTP {answer.status}", _retry_after(answer.headers.get("Retry-After", "")))
        return _document(content)


class Endpoints:
    """Built by :func:`provider`; see there."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ):
        import urllib3

        pool = urllib3.PoolManager(maxsize=16, retries=False)
        self._members = [_member(url, pool) for url in urls]
        self._timeout = timeout
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._in_use = self._members[0]
        self._chain_id: int | None = None
        self._probed_at = -PROBE_SECONDS
        self._senders = ThreadPoolExecutor(len(urls), thread_name_prefix="broadcast")

    @property
    def endpoint_uri(self) -> str:
        """The endpoint in use, as configured."""
        return self._in_use.url

    def health(self) -> list[Health]:
        """How each endpoint does, in the configured order."""
        return [
            Health(shown_url(each.url), self._state(each), each.failures, self._why(each), each.head, each.seconds)
            for each in self._members
        ]

    def expect_chain(self, chain_id: int) -> None:
        """Ask no endpoint of any other chain."""
        self._chain_id = chain_id

    def request(self, body: bytes, method: str) -> dict[str, Any]:
        """The answer to one encoded request. Raises :class:`ChainUnavailable` if no endpoint has one."""
        self._probe_if_due()
        if method == _BROADCAST:
            return self._broadcast(body)
        answer: dict[str, Any] | None = None
        timeout = max(self._timeout, LOGS_TIMEOUT_SECONDS) if method == _LOGS else self._timeout
        for member in self._candidates():
            try:
                answer = self._asked(member, body, timeout)
            except _Trouble:
                continue
            if not _is_busy(answer, method):
                self._in_use = member
                return answer
            self._note_failure(member, _Trouble(_error_text(answer)[:80]))
        if answer is not None and "error" in answer:
            return answer
        raise self._unavailable()

    # ---------------------------------------------------------------------------------------- requests

    def _broadcast(self, body: bytes) -> dict[str, Any]:
        """To every endpoint: a transaction is accepted as soon as one of them takes it, and refused only if all do."""
        refusals, silent = [], False
        under_way = [self._senders.submit(self._asked, member, body) for member in self._candidates()]
        for sent in as_completed(under_way):
            try:
                answer = sent.result()
            except _Trouble:
                silent = True  # it may have arrived there all the same
                continue
            if "error" not in answer:
                return answer
            refusals.append(answer)
        known = [answer for answer in refusals if _KNOWN.search(_error_text(answer))]
        if known or (refusals and not silent):
            return (known or refusals)[0]
        raise self._unavailable()

    def _asked(self, member: _Endpoint, body: bytes, timeout: float | None = None) -> dict[str, Any]:
        try:
            answer = member.ask(body, timeout or self._timeout)
        except _Trouble as err:
            self._note_failure(member, err)
            raise
        member.failures, member.resting_until = 0, 0.0
        return answer

    def _note_failure(self, member: _Endpoint, err: _Trouble) -> None:
        member.failures += 1
        member.reason = str(err)
        rest = pause(member.failures, first=1.0, most=MAX_BACKOFF_SECONDS) * (0.5 + self._jitter() / 2)
        member.resting_until = self._clock() + (err.retry_after if err.retry_after is not None else rest)

    def _candidates(self) -> list[_Endpoint]:
        """The one in use first, then the others in order; those in trouble last, soonest to be tried again first."""
        usable = [each for each in self._members if self._chain_id in (None, each.chain_id or self._chain_id)]
        good = [each for each in usable if self._state(each) == "ok"]
        good.sort(key=lambda each: each is not self._in_use)
        rest = [each for each in usable if each not in good]
        return good + sorted(rest, key=lambda each: each.resting_until)

    def _state(self, member: _Endpoint) -> str:
        if None not in (self._chain_id, member.chain_id) and member.chain_id != self._chain_id:
            return OTHER_CHAIN
        if member.failures and member.resting_until > self._clock():
            return "failing"
        heads = [each.head for each in self._members if each.head is not None and self._is_ours(each)]
        if member.head is not None and max(heads) - member.head > BEHIND_BLOCKS:
            return "behind"
        return "ok"

    def _why(self, member: _Endpoint) -> str:
        return f"is on chain {member.chain_id}" if self._state(member) == OTHER_CHAIN else member.reason

    def _is_ours(self, member: _Endpoint) -> bool:
        return self._chain_id is None or member.chain_id == self._chain_id

    def _unavailable(self) -> ChainUnavailable:
        if not self._candidates():
            names = ", ".join(f"{shown_url(each.url)} ({each.chain_id})" for each in self._members)
            return ChainUnavailable(
                f"every endpoint is on another chain than {self._chain_id}: {names}",
                remedy="give one of the right chain",
            )
        reasons = ", ".join(f"{shown_url(each.url)} ({each.reason})" for each in self._members if each.reason)
        return ChainUnavailable(f"cannot reach {reasons}", remedy="start it, or give another one with --rpc")

    # ----------------------------------------------------------------------------------------- probing

    def _probe_if_due(self) -> None:
        """With a choice of endpoints, learn now and then which are on our chain and how far each has come."""
        with self._lock:
            if len(self._members) == 1 or self._clock() - self._probed_at < PROBE_SECONDS:
                return
            self._probed_at = self._clock()
        for member in self._members:
            if member.failures and member.resting_until > self._clock():
                continue
            try:
                member.chain_id = self._number(member, "eth_chainId")
                member.head = self._number(member, "eth_blockNumber")
            except _Trouble:
                continue
            if self._chain_id is None:
                self._chain_id = member.chain_id

    def _number(self, member: _Endpoint, method: str) -> int:
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": method, "params": []}).encode()
        answer = self._asked(member, body, PROBE_TIMEOUT_SECONDS)
        try:
            return int(answer["result"], 16)
        except (KeyError, TypeError, ValueError):
            err = _Trouble(f"{method} was not answered with a number")
            self._note_failure(member, err)
            raise err from None


def provider(urls: Sequence[str], **options: Any) -> Any:
    """A web3 provider over ``urls`` (http or https, credentials allowed). ``options`` as of :class:`Endpoints`.

    Thread-safe. Follows no redirects, uses no proxy of the environment, reads no more than 64 MiB.
    """
    from web3.providers.base import JSONBaseProvider

    class EndpointsProvider(JSONBaseProvider):
        def __init__(self) -> None:
            super().__init__()
            self.endpoints = Endpoints(urls, **options)

        @property
        def endpoint_uri(self) -> str:
            return self.endpoints.endpoint_uri

        def make_request(self, method: Any, params: Any) -> Any:
            return self.endpoints.request(self.encode_rpc_request(method, params), method)

    return EndpointsProvider()


def _member(url: str, pool: Any) -> _Endpoint:
    """The endpoint at ``url``; credentials in it travel in a header, as people expect of a URL."""
    import urllib3

    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
    if parts.username:
        credentials = f"{parts.username}:{parts.password or ''}"
        headers.update(urllib3.util.make_headers(basic_auth=credentials))
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return _Endpoint(bare, pool, headers)


def _document(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_ANSWER_BYTES:
        raise _Trouble("an answer that is too long")
    try:
        # A deeper one can overflow the parser's stack and end the process.
        document = None if is_deeper(content, MAX_ANSWER_DEPTH) else json.loads(content)
    except ValueError:
        raise _Trouble("an answer that is not JSON") from None
    if not isinstance(document, dict) or ("result" not in document and not isinstance(document.get("error"), dict)):
        raise _Trouble("an answer that is not JSON-RPC")
    return document


def _is_busy(answer: dict[str, Any], method: str) -> bool:
    """Whether the error in ``answer`` is about the endpoint, so that another may serve."""
    text = _error_text(answer)
    return bool(_BUSY.search(text)) and not (method == _LOGS and _TOO_MUCH.search(text))


def _error_text(answer: dict[str, Any]) -> str:
    error = answer.get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, is not worth a parser."""
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdigit() else None
