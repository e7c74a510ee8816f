"""``qscrow localnet``: a chain on this machine with the contracts and funded accounts on it."""

from __future__ import annotations

import contextlib
import fcntl
import json as jsonlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli.catalogue import DEFAULT_RPC
from oracle.cli.output import Json, facts, note, say, show_json
from oracle.cli.settings import Settings, load_settings
from oracle.jobs.errors import ChainUnavailable, InputError

ACCOUNTS = ("requester", "oracle")
TICK_SECONDS = 2
FUNDING_WEI = 100 * 10**18
START_SECONDS, STOP_SECONDS = 60, 10
# These accounts are public knowledge; a light key derivation keeps every command on them quick.
LIGHT_SCRYPT = 2**12


class Engine(StrEnum):
    """What runs the chain."""

    AUTO = "auto"
    ANVIL = "anvil"
    TESTER = "tester"


def localnet(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8545,
    engine: Annotated[Engine, typer.Option(help="auto takes anvil if it is installed, else py-evm.")] = Engine.AUTO,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the one that runs.")] = False,
    json: Json = False,
) -> None:
    """Run a local chain with the contracts and funded accounts.

    Its accounts `requester` and `oracle` are kept in the home, with a random password beside them.
    """
    settings = load_settings()
    if stop:
        return _stop(settings, json)
    if detach:
        return _detach(settings, port, engine, json)
    _require_free(port)
    signal.signal(signal.SIGTERM, _end_quietly)
    with _only_one(settings), _chain(engine, port) as (url, name):
        state = _prepare(settings, url, name)
        _state_file(settings).write_text(jsonlib.dumps(state))
        try:
            _announce(state, json)
            signal.pause()
        finally:
            _state_file(settings).unlink(missing_ok=True)
            if not json:
                note("the local chain ends; what was on it is gone")


def _end_quietly(*_: Any) -> None:
    sys.exit(0)  # unwinds, so that the chain ends as well


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the home's lock while a localnet runs: it is how others know, and it goes with the process."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with _lock_file(settings).open("a") as file:
        if not _try_lock(file):
            raise ChainUnavailable(
                "a local chain runs already", field="localnet", remedy="end it with `qscrow localnet --stop`"
            )
        yield


def _try_lock(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ chain


@contextlib.contextmanager
def _chain(engine: Engine, port: int) -> Iterator[tuple[str, str]]:
    from oracle.chain import localnet as chains

    executable = None if engine == Engine.TESTER else chains.find_anvil()
    if executable is None and engine == Engine.ANVIL:
        raise InputError(
            "anvil is not installed", field="engine", remedy="use --engine tester, or `make contracts-setup`"
        )
    if executable:
        with chains.running_anvil(executable, port) as url:
            yield url, "anvil"
        return
    w3 = chains.in_process_chain()
    with chains.RpcServer(w3, port) as server:
        ticking = threading.Thread(target=_keep_time, args=(server.url,), daemon=True)
        ticking.start()
        yield server.url, "py-evm"


def _require_free(port: int) -> None:
    import socket

    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ChainUnavailable(
                f"something listens on port {port} already",
                field="port",
                remedy="stop it, or choose another --port",
            )


def _keep_time(url: str) -> None:
    """Mine a block whenever the wall clock is ahead, so that deadlines pass; py-evm mines none by itself.

    Asks over the endpoint like everybody else, which serves one request at a time.
    """
    from oracle.chain.client import connect
    from oracle.chain.localnet import advance_time

    w3 = connect(url)
    while True:
        time.sleep(TICK_SECONDS)
        with contextlib.suppress(Exception):  # the chain is ending, or busy; the next tick makes up for it
            behind = int(time.time()) - w3.eth.get_block("latest")["timestamp"]
            if behind >= TICK_SECONDS:
                advance_time(w3, behind)


# --------------------------------------------------------------------------------------------- contents


def _prepare(settings: Settings, url: str, engine: str) -> dict[str, Any]:
    """Deploy the contracts, write deployment and accounts into the home, and fund every account there."""
    from oracle.chain.accounts import list_accounts
    from oracle.chain.client import connect
    from oracle.chain.contracts import Call
    from oracle.chain.deploy import deploy
    from oracle.chain.localnet import dev_accounts
    from oracle.chain.sender import Sender

    w3 = connect(url)
    funder, *others = dev_accounts()
    deployment = deploy(w3, funder)
    deployment.save(settings.home / "deployments")
    for journal in (settings.home / "journals").glob(f"{deployment.chain_id}-*"):
        journal.unlink()  # of a chain that is gone: its blocks would only contradict this one's
    for name, account in zip(ACCOUNTS, others, strict=False):
        _ensure_account(settings, name, bytes(account.key))
    accounts = list_accounts(settings.accounts)
    sender = Sender(w3, funder)
    for address in accounts.values():
        if w3.eth.get_balance(address) < FUNDING_WEI:
            sender.send(Call("fund", address, "0x", FUNDING_WEI))
    return {
        "url": url,
        "engine": engine,
        "pid": os.getpid(),
        "chain_id": deployment.chain_id,
        "job_escrow": deployment.job_escrow,
        "oracle_registry": deployment.oracle_registry,
        "result_nft": deployment.result_nft,
        "accounts": accounts,
    }


def _ensure_account(settings: Settings, name: str, key: bytes) -> None:
    from oracle.chain.accounts import account_path, create_account
    from oracle.sealing.keys import SealingKey

    if account_path(settings.accounts, name).exists():
        return
    if not settings.default_password.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.default_password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(18) + "\n")
    password = settings.default_password.read_text().splitlines()[0]
    create_account(settings.accounts, name, password, key=key, n=LIGHT_SCRYPT)
    settings.sealing.mkdir(parents=True, exist_ok=True)
    path = settings.sealing / f"{name}.json"
    if not path.exists():
        SealingKey.generate().save(path, password, work_factor=LIGHT_SCRYPT)


def _announce(state: dict[str, Any], json: bool) -> None:
    if json:
        show_json(state)
        sys.stdout.flush()
        return
    say(f"Local chain {state['chain_id']} ({state['engine']}) on {state['url']}")
    contracts = {"JobEscrow": "job_escrow", "OracleRegistry": "oracle_registry", "ResultNFT": "result_nft"}
    facts({name: state[key] for name, key in contracts.items()})
    facts(state["accounts"])
    if state["url"] != DEFAULT_RPC:
        say(f"First, in each terminal: export QSCROW_RPC={state['url']}")
    say("Next, in one terminal:  qscrow oracle register --account oracle --stake '1 ether'")
    say("                        qscrow oracle run --account oracle")
    say("and in another:         qscrow init job.yaml")
    say("                        qscrow submit job.yaml --account requester --oracle oracle")
    sys.stdout.flush()


# --------------------------------------------------------------------------------------- in the background


def _detach(settings: Settings, port: int, engine: Engine, json: bool) -> None:
    running = _running(settings)
    if running:
        raise ChainUnavailable(
            f"a local chain runs already on {running['url']}",
            field="localnet",
            remedy="end it with `qscrow localnet --stop`",
        )
    _require_free(port)
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "localnet.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "oracle.cli.main", "localnet", "--port", str(port), "--engine", engine],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        state = _when_ready(settings, process)
    except BaseException:
        process.terminate()
        raise
    if state:
        return _announce(state, json)
    reason = log.read_text().strip().splitlines()[-1:] or ["no reason is known"]
    raise ChainUnavailable(f"the local chain did not start ({reason[0].removeprefix('error: ')})", field="localnet")


def _when_ready(settings: Settings, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """The state that ``process`` writes when its chain is ready; ``None`` if it ends before that."""
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None:
        state = _read_state(settings)
        if state and state["pid"] == process.pid:
            return state
        if time.monotonic() > give_up:
            process.terminate()
            raise ChainUnavailable(f"the local chain was not ready after {START_SECONDS} s", field="localnet")
        time.sleep(0.05)
    return None


def _stop(settings: Settings, json: bool) -> None:
    state = _running(settings)
    if not state:
        raise ChainUnavailable(
            "no local chain runs", field="localnet", remedy="start one with `qscrow localnet --detach`"
        )
    os.kill(state["pid"], signal.SIGTERM)
    give_up = time.monotonic() + STOP_SECONDS
    while _is_held(settings):
        if time.monotonic() > give_up:
            raise ChainUnavailable(f"process {state['pid']} does not end", field="localnet", remedy="kill it")
        time.sleep(0.05)
    show_json({"stopped": state["url"]}) if json else say(f"stopped {state['url']}")


def _running(settings: Settings) -> dict[str, Any] | None:
    """The state of the localnet that runs; the file that a killed one left behind is removed."""
    if _is_held(settings):
        return _read_state(settings)
    _state_file(settings).unlink(missing_ok=True)
    return None


def _is_held(settings: Settings) -> bool:
    """Whether a process holds the home's lock. It does until its chain has ended."""
    try:
        with _lock_file(settings).open("a") as file:
            return not _try_lock(file)
    except FileNotFoundError:
        return False


def _read_state(settings: Settings) -> dict[str, Any] | None:
    try:
        state = jsonlib.loads(_state_file(settings).read_text())
        return state if isinstance(state["pid"], int) and isinstance(state["url"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state_file(settings: Settings) -> Path:
    return settings.home / "localnet.json"


def _lock_file(settings: Settings) -> Path:
    return settings.home / "localnet.lock"
