"""An oracle node in a process of its own, with faults put into it from outside.

``python node_process.py '<json>'`` runs one node. ``python node_process.py --serve FOLDER`` forks one for every line
of JSON on its standard input: the libraries are loaded once, and a node starts in milliseconds. Each is a real process
with its own memory and files; killed, it is gone.

The production code has no hooks. Faults are wrapped around its stable surfaces before the node is put together.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import select
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "chaos")]

import oracle.node.assembly as assembly  # noqa: E402
from oracle.backends.aer import AerBackend  # noqa: E402
from oracle.backends.ibm.adapter import IbmBackend  # noqa: E402
from oracle.chain.client import ChainClient  # noqa: E402
from oracle.chain.deployments import Deployment  # noqa: E402
from oracle.circuits.analysis import Analysis  # noqa: E402
from oracle.circuits.limits import CircuitLimits  # noqa: E402
from oracle.circuits.run import RunRequest, RunResult  # noqa: E402
from oracle.cli.settings import Settings  # noqa: E402
from oracle.content.kubo import KuboStore  # noqa: E402
from oracle.content.select import open_store  # noqa: E402
from oracle.content.store import BlockStore  # noqa: E402
from oracle.jobs.errors import CircuitRejected, QscrowError  # noqa: E402
from oracle.node.config import NodeConfig  # noqa: E402
from oracle.node.journal import Journal  # noqa: E402
from oracle.node.logs import writing  # noqa: E402
from oracle.node.watch import Watch  # noqa: E402


def main() -> int:
    """Serve, or run the one node that is described on the command line."""
    if sys.argv[1] == "--serve":
        return serve(ibm="--ibm" in sys.argv)
    return run(json.loads(sys.argv[1]))


def run(plan: dict[str, Any]) -> int:
    """Run the node of a plan until SIGTERM; returns its exit code, which is the command line's for every failure."""
    try:
        _run(plan)
    except QscrowError as err:
        print(f"error: {err}", flush=True)
        return err.exit_code
    return 0


def _run(plan: dict[str, Any]) -> None:
    from oracle.chain.accounts import load_account, read_password
    from oracle.sealing.keys import SealingKey

    home, name = Path(plan["home"]), plan["account"]
    settings = Settings(home=home, rpc="", account=name, password_file=None)
    faults = Faults(plan["points"], home)
    faults.wrap()
    if plan["clock"]:
        _bend_clock(Path(plan["clock"]))
    if plan["recorded_runs"]:
        _record_runs(Path(plan["recorded_runs"]))
    password = read_password(settings.default_password)
    account = load_account(settings.accounts, name, password)
    key = SealingKey.load(settings.sealing / f"{name}.json", password)
    chain = _chain(plan["urls"], Deployment.load(home / "deployments", plan["chain_id"]))
    known = {field.name for field in fields(NodeConfig)}
    config = NodeConfig(**{name: value for name, value in _frozen(plan["config"]).items() if name in known})
    with (
        writing(),
        assembly.opened_node(
            chain,
            account,
            key,
            store=open_store(settings.content, plan["env"]),
            journal=settings.journal(chain.chain_id, account.address),
            config=config,
            limits=CircuitLimits.from_mapping(plan["limits"]),
            watch=Watch(config, show=lambda job, step, note: print(f"job {job} {step} {note}", flush=True)),
        ) as node,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: node.stop())
        print("ready", flush=True)
        faults.armed = True
        node.run()
    print("stopped", flush=True)


def _chain(urls: list[str], deployment: Deployment) -> ChainClient:
    from oracle.chain.client import connect

    chain = ChainClient(connect(urls), deployment)
    chain.check()
    return chain


def _frozen(config: dict[str, Any]) -> dict[str, Any]:
    return {name: frozenset(value) if isinstance(value, list) else value for name, value in config.items()}


# ----------------------------------------------------------------------------------------------- faults


class Faults:
    """Points in the node's life at which something happens to it.

    A point is ``{"at", "where", "moment", "nth", "do"}``: ``at`` is ``journal.<method>``, ``content.<method>``,
    ``backend.<method>``, ``provider.<method>`` or ``commit`` (of the journal's database, once the node is open);
    ``where`` holds arguments that must have these values (``"purpose"`` and the like may be reached through dots, and
    match the end of a text); ``moment`` is ``before`` or ``after`` the call, ``nth`` counts the calls that match.
    ``do`` is ``kill`` (SIGKILL), ``hold:<name>`` (say so in a file and wait for another file) or ``reject:<code>`` (the
    circuit is at fault).
    """

    def __init__(self, points: list[dict[str, Any]], home: Path):
        self.armed = False
        self._points = [{"where": {}, "nth": 1, "count": 0, **point} for point in points]
        self._home = home

    def wrap(self) -> None:
        """Put the points around the methods they name."""
        classes: dict[str, tuple[type, ...]] = {
            "journal": (Journal,),
            "content": (BlockStore, KuboStore),
            "backend": (AerBackend, RecordedRuns),
            "provider": (IbmBackend,),
        }
        for name in sorted({point["at"] for point in self._points}):
            if name == "commit":
                self._wrap_commits()
                continue
            part, method = name.split(".")
            for owner in classes[part]:
                setattr(owner, method, self._wrapped(name, getattr(owner, method)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(real)

        @functools.wraps(real)
        def call(*args: Any, **options: Any) -> Any:
            bound = signature.bind(*args, **options).arguments
            due = [point for point in self._points if point["at"] == name and self._is_due(point, bound)]
            self._happen(due, "before")
            result = real(*args, **options)
            self._happen(due, "after")
            return result

        return call

    def _is_due(self, point: dict[str, Any], bound: dict[str, Any]) -> bool:
        for path, wanted in point["where"].items():
            first, *rest = path.split(".")
            value = functools.reduce(getattr, rest, bound.get(first))
            if not str(value).endswith(str(wanted)):
                return False
        point["count"] += 1
        return point["count"] == point["nth"]

    def _happen(self, due: list[dict[str, Any]], moment: str) -> None:
        for point in due:
            if point["moment"] != moment:
                continue
            what, _, detail = point["do"].partition(":")
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "hold":
                (self._home / f"{detail}.reached").touch()
                while not (self._home / f"{detail}.released").exists():
                    time.sleep(0.01)
            if what == "reject":
                raise CircuitRejected(detail, "the test says so")

    def _wrap_commits(self) -> None:
        faults = self

        def around(connection: sqlite3.Connection, act: Callable[[], Any]) -> Any:
            """``act`` commits if it ends a transaction, or writes outside of one."""
            if not faults.armed:
                return act()
            before = (connection.in_transaction, connection.total_changes)
            due = [p for p in faults._points if p["at"] == "commit" and before[0] and faults._is_due(p, {})]
            faults._happen(due, "before")
            result = act()
            if not before[0] and not connection.in_transaction and connection.total_changes > before[1]:
                due = [p for p in faults._points if p["at"] == "commit" and faults._is_due(p, {})]
            faults._happen(due, "after")
            return result

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> Any:
                statement = sql.lstrip().upper()
                commits = statement.startswith(("COMMIT", "END")) or not self.in_transaction
                if not commits or statement.startswith(("BEGIN", "PRAGMA")):
                    return super().execute(sql, *args)
                return around(self, lambda: super(Watched, self).execute(sql, *args))

            def commit(self) -> None:
                around(self, super().commit) if self.in_transaction else super().commit()

            def __exit__(self, *exc: Any) -> Any:
                ends_well = self.in_transaction and exc[0] is None
                return (
                    around(self, lambda: super(Watched, self).__exit__(*exc)) if ends_well else super().__exit__(*exc)
                )

        sqlite3.connect = functools.partial(sqlite3.connect, factory=Watched)  # type: ignore[assignment]


def _bend_clock(path: Path) -> None:
    """Let ``time.time`` be off by the seconds in a file, which the test changes while the node runs."""
    real = time.time
    time.time = lambda: real() + float(path.read_text() or 0)


class RecordedRuns:
    """The real backend, except that what it ran once, in whatever process, it does not run again.

    Starting Qiskit takes longer than everything else together, and most of these tests are not about it.
    """

    def __init__(self, real: Any, folder: Path):
        self._real = real
        self._folder = folder
        self._known: dict[str, Path] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def analyse(self, request: RunRequest, *args: Any, **options: Any) -> Analysis:
        """See :class:`~oracle.backends.aer.AerBackend`."""
        path = self._folder / f"{hashlib.sha256(request.source).hexdigest()}.analysis"
        if not path.exists():
            found = self._real.analyse(request, *args, **options)
            scratch = path.with_suffix(f".{os.getpid()}")
            scratch.write_text(json.dumps(found.as_dict()))
            scratch.replace(path)
        return Analysis.from_untrusted(json.loads(path.read_text()))

    def submit(self, request: RunRequest, tag: str, *args: Any, **options: Any) -> str:
        """See :class:`~oracle.backends.base.Backend`."""
        what = repr((request.source, request.format, request.shots, request.seed)).encode()
        path = self._folder / f"{hashlib.sha256(what).hexdigest()}.json"
        reference = f"recorded-{tag}" if path.exists() else self._real.submit(request, tag, *args, **options)
        self._known[reference] = path
        return reference

    def result(self, reference: str, *args: Any, **options: Any) -> RunResult:
        """See :class:`~oracle.backends.base.Backend`."""
        path = self._known[reference]
        if not reference.startswith("recorded-"):
            run = self._real.result(reference, *args, **options)
            scratch = path.with_suffix(f".{os.getpid()}")
            scratch.write_text(json.dumps(asdict(run)))
            scratch.replace(path)
        return RunResult(**json.loads(path.read_text()))


def _record_runs(folder: Path) -> None:
    real = assembly.open_backend
    assembly.open_backend = lambda *args, **options: RecordedRuns(real(*args, **options), folder)


# ----------------------------------------------------------------------------------------------- server


def serve(*, ibm: bool) -> int:
    """Fork a node for every line of standard input and say on standard output when it starts and how it ends."""
    _warm_up(ibm)
    print(json.dumps({"ready": os.getpid()}), flush=True)
    running: set[int] = set()
    waiting = b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            part = os.read(0, 2**20)
            if not part:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return 0
            *lines, waiting = (waiting + part).split(b"\n")
            for line in lines:
                running.add(_forked(json.loads(line)))
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                print(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}), flush=True)


def _warm_up(ibm: bool) -> None:
    """Load what a node loads when it first needs it."""
    import gc

    import eth_account  # noqa: F401
    import httpx  # noqa: F401
    import web3.middleware  # noqa: F401

    from oracle.chain.client import connect

    ChainClient(connect("http://127.0.0.1:1"), Deployment(1, 0, *("0x" + "00" * 20,) * 3))
    if ibm:
        from harness.ibm import fork_helpers, load

        load()
        fork_helpers()
    gc.freeze()


def _forked(plan: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        print(json.dumps({"started": pid, "node": plan["node"]}), flush=True)
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(plan["env"])
        code = run(plan)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
