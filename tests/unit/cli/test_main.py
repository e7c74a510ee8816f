from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

from oracle import __version__
from oracle.cli import main as module
from oracle.cli.main import COMMANDS, app, load_command
from oracle.jobs.errors import InputError

HEAVY = (
    "web3",
    "eth_account",
    "qiskit",
    "qiskit_aer",
    "numpy",
    "nacl",
    "cryptography",
    "yaml",
    "jsonschema",
    "httpx",
)
PRESENT = [name for name, entry in COMMANDS.items() if find_spec(f"oracle.cli.{entry.module}")]


def spawn(*arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "oracle.cli.main", *arguments]
    root = os.path.dirname(os.path.dirname(os.path.dirname(module.__file__)))
    env = {**os.environ, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **options)


def test_help__real_process__lists_commands_without_heavy_imports():
    code = (
        "import sys\nfrom oracle.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(module.__file__)))

    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}
    )

    assert ran.stderr.strip() == "[]"
    assert all(name in ran.stdout for name in ("account", "submit", "watch", "open", "localnet"))


@pytest.mark.parametrize("name", PRESENT)
def test_load_command__every_listed_command__has_help_and_json(name):
    command = load_command(name)

    leaves = list(getattr(command, "commands", {"": command}).values())
    assert command.name == name
    for leaf in leaves:
        assert leaf.help
        assert "json" in {parameter.name for parameter in leaf.params}


@pytest.mark.parametrize("name", ["init", "simulate", "submit", "watch", "open", "refund", "cancel", "withdraw"])
def test_help__summary_on_the_front_page__is_the_commands_own(name):
    assert load_command(name).help.splitlines()[0] == COMMANDS[name].help


def test_version__asked__is_printed(qscrow):
    assert qscrow("--version").out == f"qscrow {__version__}\n"


def test_cli_runner__typers_own_test_client__works_on_the_app():
    shown = CliRunner().invoke(app, ["submit", "--help"])

    assert shown.exit_code == 0
    assert "--dry-run" in shown.output


def test_main__no_arguments__shows_help_and_fails(qscrow):
    shown = qscrow()

    assert shown.code == 2
    assert "Usage: qscrow" in shown.out + shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["teleport"], "No such command 'teleport'"),
        (["watch"], "Missing argument"),
        (["watch", "seven"], "Invalid value for 'JOB'"),
        (["watch", "0"], "Invalid value for 'JOB'"),
        (["watch", "--", "-1"], "Invalid value for 'JOB'"),
        (["watch", "1", "--colour"], "No such option"),
        (["watch", "1", "--timeout", "soon"], "Invalid value for '--timeout'"),
        (["localnet", "--port", "99999"], "Invalid value for '--port'"),
        (["localnet", "--engine", "steam"], "'steam' is not one of"),
        (["simulate", "j.yaml", "--shots", "-5"], "Invalid value for '--shots'"),
    ],
)
def test_main__wrong_usage__is_one_line_with_the_remedy(qscrow, arguments, said):
    failed = qscrow(*arguments)

    assert failed.code == 2
    assert said in failed.error
    assert "--help`" in failed.error


def test_main__expected_failure_with_json__is_one_object_on_stderr(qscrow):
    failed = qscrow("account", "show", "nobody", "--json")

    assert (failed.code, failed.out) == (2, "")
    assert json.loads(failed.err) == {
        "error": "InputError",
        "field": "nobody",
        "message": "no such account (known: none)",
        "remedy": "use `qscrow account new`",
    }


def test_main__wrong_usage_with_json__is_one_object_on_stderr(qscrow):
    failed = qscrow("watch", "seven", "--json")

    assert (failed.code, failed.out) == (2, "")
    assert set(json.loads(failed.err)) == {"error", "field", "message", "remedy"}


@pytest.fixture
def broken(monkeypatch):
    """Makes ``qscrow account list`` raise."""

    def arrange(error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("oracle.chain.accounts.list_accounts", fail)

    return arrange


def test_main__unexpected_exception__is_one_line_with_a_hint(qscrow, broken):
    broken(ZeroDivisionError("division\nby zero"))

    failed = qscrow("account", "list")

    assert failed.code == 70
    assert "internal error: ZeroDivisionError: division by zero" in failed.error
    assert "QSCROW_DEBUG=1" in failed.error


def test_main__unexpected_exception_and_debug__shows_the_traceback(qscrow, broken, monkeypatch):
    monkeypatch.setenv("QSCROW_DEBUG", "1")
    broken(ZeroDivisionError("oops"))

    failed = qscrow("account", "list")

    assert failed.code == 70
    assert "Traceback (most recent call last)" in failed.err


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_main__interrupted__exits_130_without_a_traceback(qscrow, broken, flag):
    broken(KeyboardInterrupt())

    stopped = qscrow("account", "list", *flag)

    assert (stopped.code, stopped.out) == (130, "")
    assert "interrupted" in stopped.err
    assert "Traceback" not in stopped.err


def test_main__error_text_that_steers_a_terminal__is_shown_escaped(qscrow, broken):
    broken(InputError("\x1b[2Jgone", field="x"))

    failed = qscrow("account", "list")

    assert "\x1b" not in failed.err
    assert r"\x1b[2Jgone" in failed.error


def test_watch__ctrl_c_in_a_real_process__exits_130(wallet):
    job = wallet_job(wallet)
    process = spawn("watch", str(job), "--json")
    assert json.loads(process.stdout.readline())["state"] == "Created"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert json.loads(err)["error"] == "Interrupted"


def wallet_job(wallet) -> int:
    """A job straight on the chain, from the oracle to itself."""
    from oracle.jobs.terms import ZERO_ADDRESS, Terms

    me, now = wallet.oracle.address, wallet.chain.block().timestamp
    terms = Terms(
        me,
        me,
        me,
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        5,
        0,
        0,
        now + 900,
        now + 900,
        0,
        b"s" * 32,
        b"k" * 32,
    )
    wallet.oracle.send(wallet.chain.escrow.create_job(terms))
    return wallet.chain.escrow.job_count()


def test_main__reader_goes_away__ends_quietly(home):
    process = spawn("init", "--help")
    process.stdout.close()
    process.wait(30)

    assert "Traceback" not in process.stderr.read()
