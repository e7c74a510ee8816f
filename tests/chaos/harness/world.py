"""One small world to break: a chain, faulty servers in front of it, accounts with keys, and nodes that come and go.

Whatever a test did to it, :meth:`World.verdict` is the judgement on the node: faults are lifted, time moves on as far
as it must, and then every job has ended, was delivered at most once, the money adds up and no secret is in any file.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.anvil import CHAIN_ID, Anvil
from harness.faulty import Reset
from harness.ibm import Ibm
from harness.kubo import FaultyKubo
from harness.node_process import ROOT
from harness.nodes import NodeProcess, NodeServer
from harness.rpc_proxy import RpcProxy, Sent
from oracle.audit.ledger import Ledger, build_ledger
from oracle.chain.accounts import create_account
from oracle.chain.client import ChainClient, connect
from oracle.chain.deploy import deploy
from oracle.chain.history import JobHistory, fetch_job
from oracle.chain.localnet import dev_accounts
from oracle.chain.sender import Sender
from oracle.content.store import BlockStore
from oracle.jobs.errors import QscrowError
from oracle.jobs.states import TAKEN, State
from oracle.jobs.terms import ZERO_ADDRESS
from oracle.node.journal import ACTIVE, Journal
from oracle.node.status import read_counts
from oracle.requester.draft import Draft, load_draft, write_example
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.keys import SealingKey

STAKE, BOND = 10**18, 10**15
CHALLENGE_SECONDS = 60
PATIENCE_SECONDS = 20
MINE_EVERY_SECONDS = 0.08
LIGHT_SCRYPT = 2**12
NAMES = ("requester", "oracle", "rival")
FAST: dict[str, Any] = {
    "workers": 1,
    "poll_seconds": 0.05,
    "max_backoff_seconds": 0.3,
    "batch_delay_seconds": 0.05,
    "bump_after_blocks": 2,
    "backup_sweep_blocks": 40,
    "max_fee_wei": 500 * 10**9,
    "max_tip_wei": 50 * 10**9,
}
KINDS = {
    "plain": ("ghz", {}),
    "open": ("ghz", {}),
    "challenged": (
        "ghz",
        {"timeouts": {"challenge_seconds": CHALLENGE_SECONDS}, "settlement": {"release_on": "challenge"}},
    ),
    "declined": ("ghz", {"budget": {"amount": 1_000}}),
    "hardware": ("ghz", {"quantum": {"circuit": "ghz.qasm", "shots": 1024, "seed": 7, "backend_policy": "ibm"}}),
    # Told apart by its shots, so that a test can have its circuit fail after the job was accepted.
    "failing": ("ghz", {"quantum": {"circuit": "ghz.qasm", "shots": 13, "seed": 7, "backend_policy": "simulator"}}),
}


class Keys:
    """Accounts and sealing keys for every world of a session, in a folder that is copied."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.deployer, *named = dev_accounts(5)
        self.accounts = dict(zip(NAMES, named, strict=False))
        self.arbiter = named[3]
        self.password = secrets.token_urlsafe(18)
        self.secrets: dict[str, bytes] = {"password": self.password.encode()}
        self.sealing: dict[str, SealingKey] = {}
        (folder / "sealing").mkdir(parents=True)
        (folder / "password").write_text(self.password + "\n")
        (folder / "password").chmod(0o600)
        for name, account in self.accounts.items():
            secret = secrets.token_bytes(32)
            self.sealing[name] = SealingKey.from_bytes(secret)
            self.secrets |= {f"key of {name}": bytes(account.key), f"sealing key of {name}": secret}
            create_account(folder / "accounts", name, self.password, key=bytes(account.key), n=LIGHT_SCRYPT)
            self.sealing[name].save(folder / "sealing" / f"{name}.json", self.password, work_factor=LIGHT_SCRYPT)


@dataclass(frozen=True)
class Point:
    """Something that happens inside a node; see :class:`harness.node_process.Faults`."""

    at: str
    do: str = "kill"
    moment: str = "after"
    nth: int = 1
    where: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the node process reads it."""
        return {"at": self.at, "do": self.do, "moment": self.moment, "nth": self.nth, "where": dict(self.where or {})}


class World:
    """``scenario`` and ``seed`` are printed when something is wrong. Use :meth:`close` in the end."""

    def __init__(
        self,
        folder: Path,
        server: NodeServer,
        keys: Keys,
        recorded_runs: Path,
        *,
        scenario: str,
        seed: int = 0,
        oracles: Iterable[str] = ("oracle",),
        epoch_slots: int = 1,
        kubo: bool = False,
        ibm: Callable[[], Ibm] | None = None,
    ):
        self.folder, self.home, self.keys = folder, folder / "home", keys
        self.scenario, self.seed = scenario, seed
        self.oracles = tuple(oracles)
        self.nodes: dict[str, NodeProcess] = {}
        self.options: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self._server, self._recorded, self._ibm = server, recorded_runs, ibm
        self._earlier: set[str] | None = None
        shutil.copytree(keys.folder, self.home)
        self.secrets = {**keys.secrets}
        self.anvil = Anvil(epoch_slots=epoch_slots)
        self.proxies: list[RpcProxy] = []
        self.proxy = self.add_proxy()
        w3 = connect(self.anvil.url)
        deployment = deploy(w3, keys.deployer)
        deployment.save(self.home / "deployments")
        self.chain = ChainClient(w3, deployment)
        self.store = BlockStore(self.home / "content")
        self.kubo = self._add_kubo() if kubo else None
        for name in self.oracles:
            register = self.chain.registry.register(keys.sealing[name].public, bytes(32), STAKE)
            Sender(w3, keys.accounts[name]).send(register)
        self.anvil.mine(self.anvil.finality)

    def add_proxy(self) -> RpcProxy:
        """One more endpoint, with credentials of its own."""
        user, password, path = (secrets.token_hex(12) for _ in range(3))
        number = len(self.proxies) + 1
        self.secrets |= {f"RPC password {number}": password.encode(), f"RPC path secret {number}": path.encode()}
        self.proxies.append(RpcProxy(self.anvil.url, user, password, path))
        return self.proxies[-1]

    def _add_kubo(self) -> FaultyKubo:
        token = secrets.token_hex(16)
        self.secrets["Kubo authorization"] = token.encode()
        server = FaultyKubo(BlockStore(self.folder / "kubo"), f"Bearer {token}")
        self.env = {"KUBO_API": server.url, "KUBO_AUTHORIZATION": f"Bearer {token}"}
        self.store = server.store
        return server

    def close(self) -> None:
        """End everything."""
        for node in self.nodes.values():
            node.kill()
        for proxy in self.proxies:
            proxy.close()
        if self.kubo:
            self.kubo.close()
        self.anvil.close()

    # -------------------------------------------------------------------------------------- requester

    def submit(self, kind: str = "plain", *, oracle: str = "oracle", final: bool = True, **changes: Any) -> int:
        """A new job on the chain; returns its number. ``final``: also bury it deep enough to be acted on."""
        if kind == "hardware":
            self.use_ibm()
        example, fields = KINDS[kind]
        draft = self._draft(example)
        draft = replace(draft, fields={**draft.fields, **fields, **changes})
        return self._submit(draft, kind, oracle, final)

    def submit_circuit(self, source: bytes, shots: int) -> int:
        """A new job with an OpenQASM 2 circuit of the test's own; returns its number."""
        draft = self._draft("bernstein_vazirani")
        fields = {**draft.fields, "quantum": {**draft.fields["quantum"], "shots": shots}}
        fields["budget"] = {"amount": "1 ether"}
        return self._submit(replace(draft, fields=fields, circuit=source), "plain", "oracle", True)

    def _submit(self, draft: Draft, kind: str, oracle: str, final: bool) -> int:
        address = ZERO_ADDRESS if kind == "open" else self.keys.accounts[oracle].address
        parties = Parties(oracle=address, bond=BOND)
        if kind == "challenged":
            parties = replace(parties, arbiter=self.keys.arbiter.address)
        requester, key = self.keys.accounts["requester"], self.keys.sealing["requester"]
        ready = prepare(draft, parties, chain=self.chain, requester=requester.address, key=key)
        sender = Sender(self.chain.w3, requester)
        job_id = submit(ready, chain=self.chain, store=self.store, sender=sender).job_id
        if final:
            self.anvil.mine(self.anvil.finality)
        return job_id

    def use_ibm(self) -> Ibm:
        """Give the nodes of this world a box to run hardware jobs at."""
        assert self._ibm is not None
        ibm = self._ibm()
        self._server = ibm.server
        self.options |= ibm.settings
        self.secrets["IBM token"] = ibm.box.token.encode()
        self._earlier = self._earlier if self._earlier is not None else set(ibm.box.jobs)
        return ibm

    def at_ibm(self) -> list[str]:
        """What became of the jobs of this world that IBM was given."""
        jobs = self.use_ibm().box.jobs
        return [job.status for number, job in jobs.items() if number not in (self._earlier or ())]

    def _draft(self, example: str) -> Draft:
        path = self.folder / "drafts" / example / "job.yaml"
        if not path.exists():
            write_example(path, example)
        return load_draft(path)

    # ------------------------------------------------------------------------------------------- nodes

    def start(self, *points: Point, name: str = "oracle", real_runs: bool = False, **options: Any) -> NodeProcess:
        """Start a node. ``options`` are of its config (and stay for later nodes of this world)."""
        limits, urls = options.pop("limits", {}), options.pop("urls", [proxy.url for proxy in self.proxies])
        self.options |= options
        trusted = {"trusted_arbiters": [self.keys.arbiter.address]}
        node = self._server.start(
            {
                "home": str(self.home),
                "account": name,
                "urls": urls,
                "chain_id": CHAIN_ID,
                "env": self.env,
                "config": {**FAST, **trusted, **self.options},
                "limits": limits,
                "points": [point.as_dict() for point in points],
                "recorded_runs": None if real_runs else str(self._recorded),
                "clock": str(self.clock_file) if self.clock_file.exists() else None,
                "log": str(self.folder / f"{name}.log"),
            }
        )
        self.nodes[name] = node
        return node

    @property
    def clock_file(self) -> Path:
        """By how many seconds the nodes' clock is off; written before the first of them starts."""
        return self.folder / "clock"

    def restart(self, name: str = "oracle") -> NodeProcess:
        """Kill the node, if it is alive, and start another without faults."""
        if name in self.nodes:
            self.nodes[name].kill()
        return self.start(name=name)

    def killed(self, name: str = "oracle", *, mine: bool = True) -> None:
        """Wait until the node has been killed by the point or the hook that was to do it."""
        node = self.nodes[name]
        self.until(lambda: node.code is not None, "the node to be killed", mine=mine)
        assert node.code == -9, f"the node ended with {node.code}, not killed"

    def kill_on_send(self, action: str, moment: str, name: str = "oracle") -> None:
        """Kill the node when it broadcasts: ``unsent``, ``unanswered`` or ``answered`` and not yet looked at."""

        def on_send(when: str, sent: Sent) -> None:
            if sent.action.startswith(action) and when == {"unsent": "before"}.get(moment, "after"):
                self.proxy.on_send = lambda when, sent: None
                if moment == "answered":
                    self.proxy.on_request = die
                else:
                    die()

        def die() -> None:
            self.proxy.on_request = lambda: None
            self.nodes[name].kill()
            raise Reset

        self.proxy.on_send = on_send

    def reached(self, hold: str) -> bool:
        """Whether a node stands at the point that was to hold it."""
        return (self.home / f"{hold}.reached").exists()

    def release(self, hold: str) -> None:
        """Let it go on."""
        (self.home / f"{hold}.released").touch()

    def cli(self, *words: str, code: int | None = 0, timeout: float = 60) -> str:
        """Run a command of ``qscrow`` against this world; returns what it printed, both streams."""
        done = subprocess.run(
            [sys.executable, "-m", "oracle.cli.main", *words],
            env=self.cli_env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        with (self.folder / "cli.log").open("a") as log:
            log.write(f"$ qscrow {' '.join(words)}\n{done.stdout}{done.stderr}")
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    @property
    def cli_env(self) -> dict[str, str]:
        """What the command line needs to find this world."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("QSCROW", "KUBO"))}
        own = {"QSCROW_HOME": str(self.home), "QSCROW_RPC": self.proxy.url, "PYTHONPATH": str(ROOT)}
        return {**kept, **own, **self.env}

    # ------------------------------------------------------------------------------------ what one can see

    def until(
        self,
        condition: Callable[[], Any],
        what: str,
        *,
        mine: bool | float = True,
        patience: float = PATIENCE_SECONDS,
    ) -> Any:
        """Wait for ``condition`` and return what it says; ``mine`` blocks meanwhile, or after so many seconds."""
        start = time.monotonic()
        mined = start
        while not (value := condition()):
            now = time.monotonic()
            if now - start > patience:
                raise AssertionError(f"waited {patience} s for {what}")
            due = mine is not False and now - start >= float(mine is not True and mine)
            if due and now - mined >= MINE_EVERY_SECONDS:
                self.anvil.mine()
                mined = now
            time.sleep(0.02)
        return value

    def state(self, job_id: int) -> State:
        """On chain."""
        return self.chain.escrow.state_of(job_id)

    def settled(self, *job_ids: int) -> bool:
        """Whether all these jobs are settled on chain."""
        return all(self.state(job_id) == State.SETTLED for job_id in job_ids)

    def history(self, job_id: int) -> JobHistory:
        """As the chain tells it."""
        return fetch_job(self.chain, job_id)

    def journal_path(self, name: str = "oracle") -> Path:
        """Where ``qscrow oracle run`` keeps it as well."""
        return self.home / "journals" / f"{CHAIN_ID}-{self.keys.accounts[name].address.lower()}.db"

    def journal(self, name: str = "oracle") -> Journal:
        """The journal while no node runs."""
        deployment = self.chain.deployment
        address = self.keys.accounts[name].address
        return Journal(self.journal_path(name), chain_id=CHAIN_ID, escrow=deployment.job_escrow, oracle=address)

    def counts(self, name: str = "oracle") -> dict[str, int]:
        """Jobs in each step, also while the node runs."""
        return read_counts(self.journal_path(name)) if self.journal_path(name).exists() else {}

    def heard_of(self, jobs: int, name: str = "oracle") -> bool:
        """Whether the node's journal has so many jobs."""
        try:
            return sum(self.counts(name).values()) >= jobs
        except QscrowError:  # the journal is being made
            return False

    def quiet(self, name: str = "oracle") -> bool:
        """Whether the node has taken in all blocks that it may act on."""
        with sqlite3.connect(f"file:{self.journal_path(name)}?mode=ro", uri=True) as db:
            last = db.execute("SELECT MAX(number) FROM blocks").fetchone()[0]
        behind = 0 if self.options.get("confirmations") == 0 else self.anvil.finality
        return last is not None and last >= self.anvil.head() - behind

    def actions(self, name: str = "oracle") -> Counter[str]:
        """What the account did on chain, by successful transactions: contract function → how often."""
        return Counter(function for function, succeeded in self._transactions(name) if succeeded)

    def _transactions(self, name: str) -> list[tuple[str, bool]]:
        from harness.rpc_proxy import decoded

        address, found = self.keys.accounts[name].address.lower(), []
        for number in range(self.chain.deployment.block, self.anvil.head() + 1):
            for transaction in self.anvil.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]:
                if transaction["from"].lower() == address:
                    receipt = self.anvil.rpc("eth_getTransactionReceipt", transaction["hash"])
                    raw = self.anvil.rpc("debug_getRawTransaction", transaction["hash"])
                    found.append((decoded(raw).action, receipt["status"] == "0x1"))
        return found

    # ----------------------------------------------------------------------------------------- judgement

    def behave(self) -> None:
        """Lift every fault."""
        for proxy in self.proxies:
            proxy.misbehave()
            proxy.on_send, proxy.on_request = (lambda when, sent: None), (lambda: None)
        if self.kubo:
            self.kubo.misbehave()
        self.anvil.automine(True)
        self.anvil.mine()

    def verdict(
        self,
        *,
        slashed: int = 0,
        expired: Iterable[int] = (),
        reasons: Mapping[int, str] | None = None,
        reverted: int = 0,
    ) -> Ledger:
        """Judge the nodes. All jobs must be settled but the ``expired`` ones and those ended with ``reasons``.

        ``slashed`` is what the oracles may have lost of their stakes, in wei; ``reverted`` how many of their
        transactions may have been mined in vain.
        """
        self.behave()
        expired, reasons = frozenset(expired), dict(reasons or {})
        self.until(lambda: self._is_over(expired), "every job to end, on chain and in the journals")
        self._stop_nodes()
        ledger = build_ledger(self.chain)
        problems = [
            *self._judge_jobs(ledger, expired, reasons),
            *self._judge_money(ledger, slashed),
            *self._judge_tokens(ledger),
            *self._judge_journals(ledger),
            *self._judge_transactions(reverted),
            *self._judge_logs(),
            *self._leaks(),
        ]
        assert not problems, "\n".join(problems)
        return ledger

    def _is_over(self, expired: frozenset[int]) -> bool:
        """Whether all is done; moves time and revives nodes as long as it is not."""
        for name in self.oracles:
            node = self.nodes.get(name)
            if node is not None and node.code is not None:
                assert node.code in (0, -9) or node.is_clean(), f"the node of {name} ended with {node.code}"
                self.start(name=name)
        open_jobs = [job for job in build_ledger(self.chain).jobs.values() if not job.is_terminal]
        for job in open_jobs:
            self._move_time(job, job.job_id in expired)
        if open_jobs:
            return False
        try:
            return all(set(self.counts(name)) <= {"closed"} for name in self.nodes)
        except QscrowError:
            return False

    def _move_time(self, job: JobHistory, expires: bool) -> None:
        left = self.chain.escrow.deadline_of(job.job_id) - self.anvil.timestamp()
        if job.state == State.COMPLETED and left >= 0:
            self.anvil.pass_time(left + 1)
        if expires and job.state in (State.CREATED, *TAKEN):
            if left >= 0:
                self.anvil.pass_time(left + 1)
            requester = Sender(self.chain.w3, self.keys.accounts["requester"])
            requester.send(self.chain.escrow.claim_refund(job.job_id, job.terms))

    def _stop_nodes(self) -> None:
        for name, node in self.nodes.items():
            self.until(lambda node=node: node.is_ready() or node.code is not None, "the node to be ready")
            node.terminate()
            code = node.wait()
            assert code == 0, f"the node of {name} ended with {code} when told to stop"

    def _judge_jobs(self, ledger: Ledger, expired: frozenset[int], reasons: dict[int, str]) -> Iterable[str]:
        for number, job in ledger.jobs.items():
            wanted = State.EXPIRED.label if number in expired else reasons.get(number, State.SETTLED.label)
            found = job.reason or job.state.label
            if found != wanted:
                yield f"job {number} ended as {found}, not as {wanted}"
            if job.state == State.SETTLED:
                yield from self._judge_result(job)

    def _judge_result(self, job: JobHistory) -> Iterable[str]:
        events = self.chain.job_events(job.job_id, 0, self.anvil.head())
        for event in ("JobDelivered", "JobCreated"):
            count = sum(one.name == event for one in events)
            if count != 1:
                yield f"job {job.job_id} has {count} {event} events"
        try:
            opened = open_result(job, chain=self.chain, store=self.store, key=self.keys.sealing["requester"])
        except QscrowError as err:
            yield f"the result of job {job.job_id} does not open: {err}"
            return
        noisy = opened.document.get("provider", {}).get("name") == "ibm"
        if (set(opened.counts) - {"00000", "11111"} and not noisy) or sum(opened.counts.values()) not in (1024, 13):
            yield f"job {job.job_id} has the counts {opened.counts}"

    def _judge_money(self, ledger: Ledger, slashed: int) -> Iterable[str]:
        yield from (f"ledger: {check.name}: {check.detail}" for check in ledger.checks if not check.ok)
        stakes = [self.chain.registry.stake_of(self.keys.accounts[name].address) for name in self.oracles]
        total, locked = (sum(column) for column in zip(*stakes, strict=True))
        if (total, locked) != (len(stakes) * STAKE - slashed, 0):
            yield f"stakes are {total} wei with {locked} locked, after {slashed} were to be slashed"

    def _judge_tokens(self, ledger: Ledger) -> Iterable[str]:
        events = self.chain.events(self.chain.deployment.block, self.anvil.head())
        minted = Counter(e.job_id for e in events if e.name == "Transfer" and e.args["from"] == ZERO_ADDRESS)
        delivered = Counter(e.job_id for e in events if e.name == "JobDelivered")
        if minted != delivered:
            yield f"result tokens {dict(minted)} for deliveries {dict(delivered)}"
        for number in delivered:
            if self.chain.nft.owner_of(number) != ledger.jobs[number].terms.requester:
                yield f"result token {number} is not the requester's"

    def _judge_journals(self, ledger: Ledger) -> Iterable[str]:
        for name in self.nodes:
            address = self.keys.accounts[name].address
            journal = self.journal(name)
            try:
                yield from (f"{name}'s journal has job {j.job_id} at {j.step}" for j in journal.jobs(ACTIVE))
                known = {job.job_id for job in journal.jobs()}
                ours = {number for number, job in ledger.jobs.items() if job.terms.oracle == address}
                yield from (f"{name}'s journal never heard of job {number}" for number in sorted(ours - known))
            finally:
                journal.close()

    def _judge_transactions(self, reverted: int) -> Iterable[str]:
        addresses = {self.keys.accounts[name].address for name in self.oracles}
        for sent in (sent for proxy in self.proxies for sent in proxy.sent):
            if sent.chain_id != CHAIN_ID or sent.sender not in addresses:
                yield f"signed a transaction of {sent.sender} for chain {sent.chain_id}"
            if sent.max_fee > FAST["max_fee_wei"]:
                yield f"offered {sent.max_fee} wei per gas, more than the cap"
        failed = [action for name in self.oracles for action, good in self._transactions(name) if not good]
        if len(failed) > reverted:
            yield f"paid for nothing: {failed} were mined and reverted"

    def _judge_logs(self) -> Iterable[str]:
        for name in self.nodes:
            for line in (self.folder / f"{name}.log").read_text(errors="replace").splitlines():
                if "Traceback" in line or "internal error" in line:
                    yield f"{name}'s log says: {line[:300]}"

    def _leaks(self) -> Iterable[str]:
        """Which files outside the key folders hold a secret in whatever notation."""
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder).parts
            if not path.is_file() or inside[:2] in (("home", "accounts"), ("home", "sealing"), ("home", "password")):
                continue
            data = path.read_bytes()
            for name, forms in self._forms.items():
                if any(form in data for form in forms):
                    yield f"{path.relative_to(self.folder)} holds the {name}"

    @cached_property
    def _forms(self) -> dict[str, set[bytes]]:
        def forms(secret: bytes) -> set[bytes]:
            text = secret.hex().encode()
            return {secret, text, text.upper(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)}

        return {name: forms(secret) for name, secret in self.secrets.items()}

    # ------------------------------------------------------------------------------------- when it is wrong

    def story(self) -> str:
        """What a person needs to see: logs and what the journals say about each job. Kills the nodes."""
        lines = [f"scenario {self.scenario}, seed {self.seed}, folder {self.folder}"]
        for proxy in self.proxies:
            lines += [f"sent: {s.action} nonce {s.nonce} fee {s.max_fee}/{s.max_tip} {s.hash}" for s in proxy.sent]
        for name, node in self.nodes.items():
            log = self.folder / f"{name}.log"
            lines += [f"-- {name}: exit {node.code}"]
            lines += _told(log.read_text(errors="replace").splitlines() if log.exists() else [])[-60:]
            node.kill()
            lines += self._journal_story(name)
        return "\n".join(lines)

    def _journal_story(self, name: str) -> Iterable[str]:
        if not self.journal_path(name).exists():
            return ["-- no journal"]
        try:
            with sqlite3.connect(f"file:{self.journal_path(name)}?mode=ro", uri=True) as db:
                rows = db.execute("SELECT job_id, at, step, note FROM history ORDER BY job_id, rowid").fetchall()
        except sqlite3.Error as err:
            return [f"-- the journal cannot be read: {err}"]
        return _told([f"-- job {job} {step}: {note[:160]}" for job, _, step, note in rows])[-80:]


def _told(lines: Iterable[str]) -> list[str]:
    """The lines, each only once if it comes several times in a row."""
    groups = [(line, len(list(same))) for line, same in groupby(lines)]
    return [line if times == 1 else f"{line}  ({times} times)" for line, times in groups]
