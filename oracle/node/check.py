"""Trying everything a node depends on before it has to, and saying what to do about what does not work.

The checks run side by side, each within a time limit; one that fails or hangs hides no other. Nothing is changed but
for a small block in the content store.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from oracle.chain.logs import START_BLOCKS
from oracle.circuits.limits import CircuitLimits
from oracle.jobs.amounts import format_wei
from oracle.jobs.errors import (
    BackendUnavailable,
    ChainError,
    ChainUnavailable,
    ContentError,
    InputError,
    JournalError,
    QscrowError,
)
from oracle.node.config import LOCAL_CHAINS, NodeConfig
from oracle.node.database import REBUILD

TIMEOUT_SECONDS = 45.0
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 15, 60
BLOCKS_SAMPLED = 20
RUN_SECONDS = 20
PROBE = b"qscrow oracle check\n"
CONTRACTS = ("JobEscrow", "OracleRegistry", "ResultNFT")
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 2**30, 256 * 2**20
WORKER_BYTES = 200 * 2**20  # a warm worker before it runs anything
_IMMUTABLE = b"\x7f" + bytes(32)  # PUSH32 of the placeholder that creation overwrites
_BELL = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;'


class Status(StrEnum):
    """How a check ended; ``SKIP``: it could not be done because of another that failed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """What a check found and, unless all is well, what to do."""

    check: str
    status: Status
    text: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return {"check": self.check, "status": str(self.status), "text": self.text, "remedy": self.remedy}


@dataclass(frozen=True)
class Subject:
    """The node or validator to be checked. What is a function may raise :class:`QscrowError`, and is called once.

    ``deployments``, ``journal`` and ``rival`` (the journal of a process that must not have the same account) give paths
    for a chain id (and an address). ``signer`` is the configured :class:`~oracle.chain.signers.ExternalSigner`, if
    there is one. ``stores`` has every configured place for content. ``role`` is ``oracle`` or ``validator``: that one
    has no stake, sends nothing to IBM, and makes a lost journal anew by itself.
    """

    home: Path
    rpc: tuple[str, ...]
    config: NodeConfig
    limits: CircuitLimits
    deployments: Callable[[int], Path]
    journal: Callable[[int, str], Path]
    address: Callable[[], str]
    open_account: Callable[[], Any]
    open_sealing_key: Callable[[], Any]
    stores: Mapping[str, Callable[[], Any]]
    signer: Any = None
    role: str = "oracle"
    rival: Callable[[int, str], Path] | None = None
    wall: Callable[[], float] = field(default=time.time)


Outcome = tuple[Status, str, str]
Check = Callable[[], Outcome]


def run_checks(
    subject: Subject, *, timeout: float = TIMEOUT_SECONDS, found: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Do all checks, each within ``timeout`` seconds; ``found`` hears of each as soon as those before it ended."""
    give_up = time.monotonic() + timeout
    running = [(name, _Running(check)) for name, check in _Checks(subject).all()]
    findings = []
    for name, each in running:
        finding = Finding(name, *each.outcome(give_up - time.monotonic(), timeout))
        found(finding)
        findings.append(finding)
    return findings


class _Skipped(Exception):
    """The check needs something that is not there; another check says what is wrong with it."""


class _Running:
    """A check in a thread of its own, which is abandoned if it does not end."""

    def __init__(self, check: Check):
        self._outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run, args=(check,), daemon=True)
        self._thread.start()

    def outcome(self, patience: float, timeout: float) -> Outcome:
        self._thread.join(max(0.0, patience))
        return self._outcome or (Status.FAIL, f"did not end within {timeout:.0f} s", "see why it hangs")

    def _run(self, check: Check) -> None:
        try:
            self._outcome = check()
        except _Skipped as err:
            self._outcome = Status.SKIP, f"cannot be tested: {err}", ""
        except QscrowError as err:
            text = f"{err.field}: {err.message}" if err.field else err.message
            self._outcome = Status.FAIL, text, err.remedy or "correct it"
        except Exception as err:  # its text may hold an URL with its credentials
            self._outcome = Status.FAIL, f"failed with {type(err).__name__}", "report it"


class _Once:
    """Calls ``get`` when first asked and gives everybody the same answer, or the same error."""

    def __init__(self, get: Callable[[], Any]):
        self._get = get
        self._lock = threading.Lock()
        self._answer: Any = None
        self._error: QscrowError | None = None
        self._known = False

    def __call__(self) -> Any:
        with self._lock:
            if not self._known:
                try:
                    self._answer = self._get()
                except QscrowError as err:
                    self._error = err
                self._known = True
        if self._error is not None:
            raise self._error
        return self._answer

    def needed(self) -> Any:
        """The answer; without one, the check that asks is skipped."""
        try:
            return self()
        except QscrowError as err:
            raise _Skipped(err.message) from None


class _Checks:
    def __init__(self, subject: Subject):
        self._s = subject
        self._chain = _Once(self._connected)
        self._address = _Once(subject.address)
        self._sealing_key = _Once(subject.open_sealing_key)
        self._is_oracle = subject.role == "oracle"
        self._process = "node" if self._is_oracle else subject.role

    def all(self) -> Iterator[tuple[str, Check]]:
        """Name and function of every check that applies, in the order people want to read them."""
        for number, url in enumerate(self._s.rpc, 1):
            yield f"endpoint {number}", lambda url=url: self._endpoint(url)
        yield "clock", self._clock
        yield "contracts", self._contracts
        yield "gas price", self._gas_price
        yield "account", self._account
        if self._s.signer is not None:
            yield "signer", self._signer
        yield "balance", self._balance
        yield "registration", self._registration
        yield "sealing key", self._sealing
        if self._is_oracle:
            yield "stake", self._stake
        yield "credit", self._credit
        for name, opened in self._s.stores.items():
            yield f"content in {name}", lambda opened=opened: self._content(opened)
        yield "disk", self._disk
        yield "sandbox", self._sandbox
        yield "memory", self._memory
        if self._s.config.executor == "dask":
            yield "cluster", self._cluster
        if self._is_oracle and self._s.config.ibm_backends.strip(", "):
            yield "IBM", self._ibm
        yield "journal", self._journal
        for name in ("metrics", "gateway"):
            port = getattr(self._s.config, f"{name}_port")
            if port is not None:
                host = getattr(self._s.config, f"{name}_host")
                yield f"{name} port", lambda host=host, port=port: self._port(host, port)

    def _connected(self) -> Any:
        from oracle.chain.client import ChainClient, connect
        from oracle.chain.deployments import Deployment
        from oracle.chain.failures import endpoint_name, translated

        w3 = connect(self._s.rpc)
        with translated(endpoint_name(w3)):
            chain_id = w3.eth.chain_id
        return ChainClient(w3, Deployment.load(self._s.deployments(chain_id), chain_id))

    # -------------------------------------------------------------------------------------------- chain

    def _endpoint(self, url: str) -> Outcome:
        """Answers, on our chain, at its head, with the finalized tag, and serves logs."""
        from oracle.chain.client import connect
        from oracle.chain.failures import endpoint_name, translated

        w3 = connect([url])
        name = endpoint_name(w3)
        with translated(name):
            started = time.monotonic()
            chain_id = w3.eth.chain_id
            seconds = time.monotonic() - started
            head = w3.eth.get_block("latest")
            past = w3.eth.get_block(max(0, head["number"] - BLOCKS_SAMPLED))
        expected = self._chain.needed().chain_id if chain_id not in LOCAL_CHAINS else chain_id
        if chain_id != expected:
            raise ChainError(f"{name} is on chain {chain_id}, not {expected}", remedy="give one of the right chain")
        told = f"{name}: chain {chain_id}, block {head['number']}, {1000 * seconds:.0f} ms"
        usual = (head["timestamp"] - past["timestamp"]) / max(1, head["number"] - past["number"])
        age = self._s.wall() - head["timestamp"]
        if age > max(60.0, 20 * usual):
            bad = Status.FAIL if age > max(600.0, 100 * usual) else Status.WARN
            return bad, f"{told}, which is {age:.0f} s old", "it stopped following the chain: use another one"
        with translated(name):
            return self._finality(w3, told) or self._logs(w3, head["number"], told)

    def _finality(self, w3: Any, told: str) -> Outcome | None:
        try:
            w3.eth.get_block("finalized")
        except Exception as err:  # each provider has words of its own for it
            if isinstance(err, ChainUnavailable):
                raise
            blocks = self._s.config.finality_fallback_confirmations
            return (
                Status.WARN,
                f"{told}, no finalized tag: a block counts as final {blocks} blocks later",
                "set chain.finality_fallback_confirmations to what this chain needs",
            )
        return None

    def _logs(self, w3: Any, head: int, told: str) -> Outcome:
        blocks = min(self._s.config.block_range, START_BLOCKS)
        query = {"fromBlock": max(0, head - blocks + 1), "toBlock": head}
        try:
            w3.eth.get_logs({**query, "address": self._chain.needed().deployment.job_escrow})
        except (_Skipped, ChainUnavailable):
            raise
        except Exception:  # too many blocks, in whatever words; the node asks for fewer
            return (
                Status.WARN,
                f"{told}, does not serve the logs of {blocks} blocks at once",
                "the node asks for fewer and catches up more slowly; another plan or provider may serve more",
            )
        return Status.OK, told, ""

    def _clock(self) -> Outcome:
        """A block from the future means that this machine's clock is late: deadlines would be missed."""
        from oracle.chain.failures import endpoint_name, translated

        chain = self._chain.needed()
        with translated(endpoint_name(chain.w3)):
            ahead = chain.block().timestamp - self._s.wall()
        if ahead <= CLOCK_WARN_SECONDS:
            return Status.OK, "agrees with the chain's head", ""
        status = Status.FAIL if ahead > CLOCK_FAIL_SECONDS else Status.WARN
        return status, f"is {ahead:.0f} s behind the chain's head", "synchronise it (chrony, systemd-timesyncd)"

    def _contracts(self) -> Outcome:
        from oracle.chain.artifacts import artifact
        from oracle.chain.failures import endpoint_name, translated

        chain = self._chain()
        d = chain.deployment
        places = {"JobEscrow": d.job_escrow, "OracleRegistry": d.oracle_registry, "ResultNFT": d.result_nft}
        with translated(endpoint_name(chain.w3)):
            escrow = chain.w3.eth.contract(address=d.job_escrow, abi=artifact("JobEscrow")["abi"])
            for name, address in places.items():
                found = contract_of(bytes(chain.w3.eth.get_code(address)))
                if found != name:
                    raise ChainError(
                        f"{address} should be the {name} and is {found or 'nothing this version knows'}",
                        remedy="check the deployment file, or use the version of Qscrow that was deployed",
                    )
            wired = (escrow.functions.oracleRegistry().call(), escrow.functions.resultNFT().call())
        if wired != (d.oracle_registry, d.result_nft):
            raise ChainError("the escrow works with another registry or token", remedy="correct the deployment file")
        return Status.OK, f"JobEscrow {d.job_escrow} and its two companions are the ones this version knows", ""

    def _gas_price(self) -> Outcome:
        from oracle.chain.failures import endpoint_name, translated
        from oracle.chain.fees import read_market

        chain, cap = self._chain.needed(), self._s.config.max_fee_wei
        with translated(endpoint_name(chain.w3)):
            market = read_market(chain.w3, chain.w3.eth.get_block("latest"))
        price = (market.base_fee or 0) + market.tip
        told = f"{format_wei(price)} per unit, the cap is {format_wei(cap)}"
        if price <= cap // 2:
            return Status.OK, told, ""
        status = Status.FAIL if price > cap else Status.WARN
        return status, told, "raise transactions.max_fee, or wait until gas is cheaper"

    # ------------------------------------------------------------------------------------------ account

    def _account(self) -> Outcome:
        account = self._s.open_account()
        if account.address != self._address():
            raise InputError(f"unlocks {account.address}, not {self._address()}", remedy="restore the keystore")
        return Status.OK, f"{account.address} can sign", ""

    def _signer(self) -> Outcome:
        """Asks what the signer can be asked without anybody having to approve it."""
        import requests

        signer = self._s.signer
        method = {"clef": "account_version", "web3signer": "eth_accounts"}[signer.kind]
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": []}
        session = requests.Session()
        session.trust_env = False
        try:
            answer = session.post(signer.url, json=question, timeout=10, allow_redirects=False).json()
        except (requests.RequestException, ValueError) as err:
            raise ChainUnavailable(
                f"does not answer ({type(err).__name__})", remedy="start it, or correct account.signer_url"
            ) from None
        result = answer.get("result") if isinstance(answer, dict) else None
        if result is None:
            raise ChainError(f"refuses {method}", remedy="check account.signer_kind and the signer's rules")
        if isinstance(result, list) and signer.address.lower() not in [str(each).lower() for each in result]:
            raise ChainError(f"has no key for {signer.address}", remedy="load the key there")
        return Status.OK, f"answers as a {signer.kind}", ""

    def _balance(self) -> Outcome:
        chain, address, wanted = self._chain.needed(), self._address.needed(), self._s.config.low_balance_wei
        held = chain.balance(address)
        told = f"{address} holds {format_wei(held)}"
        if held < wanted:
            return Status.FAIL, told, f"send it {format_wei(wanted - held)} or more for gas"
        return Status.OK, told, ""

    def _registration(self) -> Outcome:
        chain, address = self._chain.needed(), self._address.needed()
        if not any(chain.registry.sealing_key_of(address)):
            return Status.FAIL, f"{address} is not registered", f"run `qscrow {self._s.role} register`"
        return Status.OK, f"{address} is registered", ""

    def _sealing(self) -> Outcome:
        key = self._sealing_key()
        registered = self._chain.needed().registry.sealing_key_of(self._address.needed())
        if any(registered) and registered != key.public:
            return (
                Status.FAIL,
                f"is not the registered one: what is sealed to this {self._s.role} cannot be opened",
                f"restore the registered key, or publish this one with `qscrow {self._s.role} register`",
            )
        return Status.OK, f"0x{key.public.hex()} can be opened", ""

    def _stake(self) -> Outcome:
        stake, locked = self._chain.needed().registry.stake_of(self._address.needed())
        told = f"{format_wei(stake)}, of which {format_wei(locked)} is locked"
        if stake == locked:
            remedy = "add some with `qscrow oracle register --stake`"
            return Status.WARN, f"{told}: jobs that ask for a bond are declined", remedy
        return Status.OK, told, ""

    def _credit(self) -> Outcome:
        credit = self._chain.needed().escrow.credit_of(self._address.needed())
        return Status.OK, f"{format_wei(credit)} can be taken out with `qscrow {self._s.role} withdraw`", ""

    # ------------------------------------------------------------------------------------------ machine

    def _content(self, opened: Callable[[], Any]) -> Outcome:
        from oracle.content.remote import GatewayStore

        store = opened()
        try:
            cid = store.put(PROBE, pin=False)
        except ContentError:
            if not isinstance(store, GatewayStore) or not _is_readable(store):
                raise
            return Status.WARN, "answers, but takes no uploads: it is only read from", "keep content elsewhere as well"
        if store.get(cid, max_bytes=len(PROBE)) != PROBE:  # the store verifies; this is the check of the check
            raise QscrowError("gave back other bytes", remedy="do not use it")
        return Status.OK, "a block was written, read and verified", ""

    def _disk(self) -> Outcome:
        folder = next(path for path in (self._s.home, *self._s.home.absolute().parents) if path.exists())
        free = shutil.disk_usage(folder).free
        told = f"{free / 2**30:.1f} GiB free at {self._s.home}"
        if free >= DISK_WARN_BYTES:
            return Status.OK, told, ""
        return Status.FAIL if free < DISK_FAIL_BYTES else Status.WARN, told, "free some: journal and content need it"

    def _sandbox(self) -> Outcome:
        from oracle.circuits.run import RunRequest
        from oracle.circuits.sandbox import Sandbox

        limits = replace(self._s.limits, wall_seconds=min(self._s.limits.wall_seconds, RUN_SECONDS))
        with Sandbox(1) as sandbox:
            result = sandbox.submit(RunRequest(_BELL, "openqasm2", 64, 1, limits)).result()
        if not set(result.counts) <= {"00", "11"}:
            raise QscrowError("a Bell pair came out wrong", remedy="reinstall qiskit-aer")
        told = f"a circuit ran on {result.engine}, held in by {result.confinement}"
        if "seccomp" not in result.confinement:
            return Status.WARN, told, "run the node on Linux on x86-64, where a system call filter holds circuits in"
        return Status.OK, told, ""

    def _memory(self) -> Outcome:
        config, limits = self._s.config, self._s.limits
        if config.executor != "pool" or "SC_PHYS_PAGES" not in os.sysconf_names:
            return Status.OK, "circuits run elsewhere, or the system does not tell", ""
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        runs = min(config.memory_bytes or limits.memory_bytes * config.workers, limits.memory_bytes * config.workers)
        wanted = runs + config.workers * WORKER_BYTES
        told = f"{config.workers} workers may take {wanted / 2**30:.1f} GiB of {total / 2**30:.1f}"
        if wanted <= total:
            return Status.OK, told, ""
        return Status.WARN, told, "lower limits.memory_bytes or execution.workers, or set execution.memory_bytes"

    def _cluster(self) -> Outcome:
        from oracle.backends.cluster import DaskExecutor

        c = self._s.config
        tls = (c.dask_tls_ca, c.dask_tls_cert, c.dask_tls_key)
        with DaskExecutor(c.dask_scheduler, tls=tls if any(tls) else None) as executor:
            workers = executor.workers
        if not workers:
            return Status.FAIL, f"{c.dask_scheduler} has no workers", "start some with `dask worker`"
        return Status.OK, f"{c.dask_scheduler} runs {workers} circuits at a time", ""

    def _ibm(self) -> Outcome:
        """Token, account and backends; submits nothing. A node whose IBM is silent runs all other jobs."""
        from oracle.backends.ibm.select import open_ibm

        try:
            with closing(open_ibm(self._s.config, self._s.home, self._s.limits)) as provider:
                queues = {backend.name: backend.queue() for backend in provider.backends}
                told = provider.account.endpoint
        except BackendUnavailable as err:
            return Status.WARN, err.message, "hardware jobs wait for it; check network, proxy and IBM's status page"
        for name, queue in queues.items():
            wait = f"{queue.pending} jobs wait there, about {queue.seconds:.0f} s"
            told += f"; {name}: {wait if queue.operational else f'takes no jobs now ({queue.message})'}"
        if all(queue.operational for queue in queues.values()):
            return Status.OK, told, ""
        return Status.WARN, told, "its jobs wait until it is open again, or name another in execution.ibm_backends"

    def _journal(self) -> Outcome:
        from oracle.node.rebuild import require_journal
        from oracle.node.status import read_status

        chain, address = self._chain.needed(), self._address.needed()
        path = self._s.journal(chain.chain_id, address)
        if self._s.rival is not None and self._s.rival(chain.chain_id, address).exists():
            other = "a validator" if self._is_oracle else "an oracle"
            raise InputError(f"{address} is {other} here as well", remedy=f"use another account for the {self._s.role}")
        if self._is_oracle:
            require_journal(path, chain, address)
        if not path.exists():
            return Status.OK, f"none yet; the {self._process} makes one when it starts", ""
        _require_sound(path)
        status = read_status(path)
        owner = (status.chain_id, status.escrow, status.oracle)
        if owner != (chain.chain_id, chain.deployment.job_escrow, address):
            raise JournalError(f"{path} is another node's", remedy="move it away, or correct account and deployment")
        running = f", a {self._process} is running on it" if self._is_running(path) else ""
        read = "no block read yet" if status.last_block is None else f"read up to block {status.last_block}"
        return Status.OK, f"{sum(status.jobs.values())} jobs, {read}{running}", ""

    def _port(self, host: str, port: int) -> Outcome:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(where)
            except OSError as err:
                if err.errno == errno.EADDRINUSE and self._has_running_node():
                    return Status.OK, f"{host}:{port} is in use, and a {self._process} is running", ""
                reason = err.strerror or type(err).__name__
                raise InputError(
                    f"{host}:{port} cannot be had ({reason})", remedy="stop what uses it, or choose another"
                ) from None
        return Status.OK, f"{host}:{port} is free", ""

    def _has_running_node(self) -> bool:
        try:
            return self._is_running(self._s.journal(self._chain().chain_id, self._address()))
        except QscrowError:
            return False

    def _is_running(self, journal: Path) -> bool:
        from oracle.node.database import claim_file

        if not journal.exists():
            return False
        try:
            claim_file(journal).close()
        except JournalError:
            return True
        return False


def _is_readable(store: Any) -> bool:
    from oracle.content.cid import CID

    try:
        store.has(CID.of(PROBE))
    except ContentError:
        return False
    return True


def contract_of(code: bytes) -> str | None:
    """Which of the contracts ``code`` is, ``None`` if it is none this version knows."""
    from oracle.chain.artifacts import artifact

    creations = {name: bytes.fromhex(artifact(name)["bytecode"].removeprefix("0x")) for name in CONTRACTS}
    # The escrow makes the other two, so that its creation code contains theirs: the smallest that fits is the one.
    fitting = [name for name in CONTRACTS if _is_deployed_from(code, creations[name])]
    return min(fitting, key=lambda name: len(creations[name]), default=None)


def _is_deployed_from(code: bytes, creation: bytes) -> bool:
    """Whether ``code`` is what running the creation bytecode left, whatever its immutables are.

    The runtime code is part of the creation code; where it differs, creation wrote an immutable over the 32 zero bytes
    of a PUSH32 (Solidity documentation, "Contract Metadata" and "Immutable").
    """
    if not code:
        return False
    start = creation.find(code[:32])
    while start >= 0:
        template = creation[start : start + len(code)]
        if len(template) == len(code) and _without_immutables(code, template) == template:
            return True
        start = creation.find(code[:32], start + 1)
    return False


def _without_immutables(code: bytes, template: bytes) -> bytes:
    plain, at = bytearray(code), template.find(_IMMUTABLE)
    while at >= 0:
        plain[at + 1 : at + 33] = bytes(32)
        at = template.find(_IMMUTABLE, at + 33)
    return bytes(plain)


def _require_sound(path: Path) -> None:
    """Raise :class:`JournalError` unless the file is a sound database."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as err:
        verdict = str(err)
    if verdict != "ok":
        raise JournalError(f"{path} is damaged ({verdict})", remedy=REBUILD)
