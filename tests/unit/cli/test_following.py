from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from oracle.chain.history import fetch_job
from oracle.chain.localnet import advance_time
from oracle.circuits.run import RunResult
from oracle.cli import following
from oracle.content.store import BlockStore, get_object, put_object
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import ChainUnavailable
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.jobs.states import State
from oracle.node.documents import job_reference, result_document, sealed_result
from oracle.sealing.artefacts import HIDDEN, IN_RECEIPT, NAMES
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.sealed import commit, inspect_sealed, seal

BUDGET, CHARGE = 10**16, 4 * 10**15
COUNTS = {"00000": 500, "11111": 524}
RUN = RunResult(
    COUNTS, 1024, 7, 5, 5, 6, {"h": 1}, "stabilizer", "aer-stabilizer", {"qiskit": "2"}, "ab" * 32, "rlimits", {}
)
HISTORY_FIELDS = {
    *("job", "state", "tier", "reason", "terms", "budget", "charge", "to_oracle", "to_validator", "to_payer"),
    *("slashed", "held", "result", "steps"),
}


@pytest.fixture
def job(qscrow, wallet) -> int:
    """A job addressed to the oracle, submitted with the command."""
    qscrow("init", "job.yaml")
    return qscrow("submit", "job.yaml", "--oracle", "oracle", "--yes", "--json").json["job"]


@pytest.fixture
def deliver(wallet, home):
    """Does what an oracle does at the end; ``changes`` go into the result document."""

    def run(job: int, **changes: object) -> dict:
        terms, deployment = fetch_job(wallet.chain, job).terms, wallet.chain.deployment
        result = {
            "version": 1,
            "counts": COUNTS,
            "shots": 1024,
            "seed": 7,
            "backend": {"name": "aer", "engine": "aer-stabilizer"},
            "charge": str(CHARGE),
            **changes,
        }
        salt = secrets.token_bytes(32)
        receipt = {"commitment": "0x" + commit(salt, canonical_bytes(result)).hex()}
        context = SealContext.for_result(
            chain_id=31337, contract=deployment.job_escrow, job_id=job, spec=terms.spec, party=terms.requester
        )
        plain = canonical_bytes({**result, "salt": salt.hex()})
        sealed = seal(plain, context, [Recipient("nacl", terms.seal_to)], receipt=receipt)
        pinned = put_object(BlockStore(home / "content"), sealed)
        wallet.oracle.send(wallet.chain.escrow.deliver(job, terms, CHARGE, pinned))
        return {**result, "salt": salt.hex()}

    return run


def reject(wallet, job: int) -> None:
    wallet.oracle.send(wallet.chain.escrow.reject(job, fetch_job(wallet.chain, job).terms, "too_wide"))


# ----------------------------------------------------------------------------------------------- watch


def test_watch__settled__shows_every_step_and_exits_0(qscrow, wallet, job, deliver):
    deliver(job)

    watched = qscrow("watch", job)

    assert watched.code == 0
    states = [line.split()[2] for line in watched.out.splitlines()[:-1]]
    assert states == ["Created", "Completed", "Settled"]
    assert watched.out.splitlines()[-1] == (
        f"Job {job} is Settled, 0.004 ether to the oracle, 0.006 ether back to the payer"
    )


def test_watch__json__is_one_step_a_line(qscrow, wallet, job, deliver):
    deliver(job)

    lines = qscrow("watch", job, "--json").lines

    assert [line["state"] for line in lines] == ["Created", "Completed", "Settled"]
    assert all(set(line) == {"job", "state", "actor", "note", "block", "transaction"} for line in lines)


def test_watch__rejected__exits_10_with_the_reason(qscrow, wallet, job):
    reject(wallet, job)

    watched = qscrow("watch", job)

    assert watched.code == 10
    assert f"Job {job} is Rejected, reason too_wide, 0.01 ether back to the payer" in watched.out


def test_watch__cancelled__exits_13(qscrow, wallet, job):
    qscrow("cancel", job)

    assert qscrow("watch", job).code == 13


def test_watch__oracle_gave_up__exits_12(qscrow, wallet, job):
    terms = fetch_job(wallet.chain, job).terms
    wallet.oracle.send(wallet.chain.escrow.accept(job, terms))
    wallet.oracle.send(wallet.chain.escrow.fail(job, terms, "backend_down"))

    assert qscrow("watch", job).code == 12


def test_watch__every_terminal_state__has_its_own_exit_code():
    from oracle.jobs.states import TERMINAL

    assert set(following.WATCH_EXIT_CODES) == TERMINAL
    assert len(set(following.WATCH_EXIT_CODES.values())) == len(TERMINAL)


def test_watch__still_going_on__exits_14_at_the_timeout(qscrow, wallet, job):
    watched = qscrow("watch", job, "--timeout", "0")

    assert watched.code == 14
    assert "Created" in watched.out
    assert watched.err == f"error: timeout: job {job} is still Created; watch again later\n"


def test_watch__time_is_over__tells_how_to_claim_and_then_exits_11(qscrow, wallet, job):
    advance_time(wallet.chain.w3, 3601)

    waiting = qscrow("watch", job, "--timeout", "0")
    claims = qscrow("watch", job, "--timeout", "0", "--json").lines[-1]

    assert f"its time is over: `qscrow refund {job}` returns the money" in waiting.err
    assert (claims["job"], claims["claim"]) == (job, "refund")
    qscrow("refund", job)
    assert qscrow("watch", job).code == 11


def test_watch__endpoint_fails_in_between__goes_on(qscrow, wallet, job, monkeypatch):
    from oracle.chain import history

    real, calls = history.fetch_job, []
    monkeypatch.setattr(following.time, "sleep", lambda _: None)

    def flaky(chain, number, **options):
        calls.append(number)
        if len(calls) == 2:
            raise ChainUnavailable("cannot reach it")
        if len(calls) == 3:
            reject(wallet, job)
        return real(chain, number, **options)

    monkeypatch.setattr(history, "fetch_job", flaky)

    watched = qscrow("watch", job)

    assert watched.code == 10
    assert "cannot reach it; trying again" in watched.err
    assert [line.split()[2] for line in watched.out.splitlines()[:-1]] == ["Created", "Rejected"]


def test_watch__no_such_job__says_how_many_there_are(qscrow, wallet):
    failed = qscrow("watch", 999)

    assert failed.code == 2
    assert "job: there is no job 999 on chain 31337; jobs so far: " in failed.error


@pytest.mark.parametrize("command", ["watch", "inspect", "open", "refund", "cancel"])
@pytest.mark.parametrize("number", [2**256, 10**100])
def test_commands__absurd_job_number__is_one_line(qscrow, wallet, command, number):
    assert "job: there is no job 1" in qscrow(command, number).error


# --------------------------------------------------------------------------------------------- inspect


def test_inspect__json__is_the_whole_history(qscrow, wallet, job, deliver):
    deliver(job)

    shown = qscrow("inspect", job, "--json").json

    assert set(shown) == HISTORY_FIELDS | {"deadline", "claim", "owner"}
    assert (shown["state"], shown["tier"], shown["owner"]) == (
        "Settled",
        "Unverified",
        wallet.address("requester"),
    )
    assert (shown["budget"], shown["charge"]) == (str(BUDGET), str(CHARGE))
    assert (shown["to_oracle"], shown["to_payer"], shown["held"]) == (str(CHARGE), str(BUDGET - CHARGE), "0")
    assert shown["result"].startswith("ipfs://f01551220")
    assert (shown["deadline"], shown["claim"]) == (0, None)


def test_inspect__text__shows_state_money_and_timeline(qscrow, wallet, job):
    said = qscrow("inspect", job).out

    assert said.startswith(f"Job {job} on chain 31337: Created, unverified\n")
    for part in ("budget", "0.01 ether", "deadline", "UTC", "Timeline", "Created"):
        assert part in said


def test_inspect__terms_and_spec__are_added(qscrow, wallet, job):
    said = qscrow("inspect", job, "--terms", "--spec").out

    assert "sealed to" in said and "challenge period" in said
    spec = json.loads(said[said.index("Spec\n") + 5 :])
    assert spec["title"] == "GHZ state of five qubits"
    assert qscrow("inspect", job, "--spec", "--json").json["spec"] == spec


def test_inspect__spec_damaged_or_gone__is_a_content_error(qscrow, wallet, home, job):
    spec = fetch_job(wallet.chain, job).terms.spec
    blocks = list((home / "content").rglob("*.data"))
    for block in blocks:
        block.write_bytes(b"something else")
    assert qscrow("inspect", job, "--spec").code == 4

    for block in blocks:
        block.unlink()
    failed = qscrow("inspect", job, "--spec")
    assert failed.code == 4
    assert "is not in" in failed.error
    assert len(spec) == 32


def test_inspect__time_is_over__hints_on_stderr(qscrow, wallet, job):
    advance_time(wallet.chain.w3, 3601)

    shown = qscrow("inspect", job)

    assert shown.code == 0
    assert f"qscrow refund {job}" in shown.err


# ------------------------------------------------------------------------------- inspect --artifacts


@pytest.fixture
def delivered(wallet, home, job):
    """A job with the result that a node writes; ``lie`` may change its receipt before it is sealed."""

    def run(lie=lambda receipt: None) -> int:
        history, deployment = fetch_job(wallet.chain, job), wallet.chain.deployment
        terms, store = history.terms, BlockStore(home / "content")
        spec = parse_spec(get_object(store, terms.spec, MAX_SPEC_BYTES))
        reference = job_reference(31337, deployment.job_escrow, job, terms)
        result = result_document(
            reference, spec, RUN, routing={"choice": "local_simulator"}, charge=CHARGE, oracle=terms.oracle
        )
        context = SealContext.for_result(
            chain_id=31337, contract=deployment.job_escrow, job_id=job, spec=terms.spec, party=terms.requester
        )
        readers = [Recipient("nacl", terms.seal_to)]
        receipt = inspect_sealed(sealed_result(result, terms, context, readers)).receipt
        lie(receipt)
        pinned = put_object(store, seal(canonical_bytes(result), context, readers, receipt=receipt))
        wallet.oracle.send(wallet.chain.escrow.deliver(job, terms, CHARGE, pinned))
        return job

    return run


def artefacts(shown) -> dict[str, str]:
    return {each["name"]: each["status"] for each in shown.json["artefacts"]["artefacts"]}


def test_inspect__artifacts__lists_all_nine_without_any_account(qscrow, wallet, delivered, monkeypatch):
    job = delivered()
    monkeypatch.delenv("QSCROW_ACCOUNT")

    said = qscrow("inspect", job, "--artifacts")

    assert said.code == 0
    listed = [line.split()[:2] for line in said.out[said.out.index("Artefacts") :].splitlines() if line[2:3].strip()]
    assert [name for name, _ in listed[1:]] == ["receipt", *NAMES]
    found = artefacts(qscrow("inspect", job, "--artifacts", "--json"))
    assert {found[name] for name in HIDDEN} == {"sealed"} and found["original_spec"] == "public-verified"
    assert (found["validation_report"], found["settlement"]) == ("not-due", "public-verified")


def test_inspect__artifacts_for_their_requester__are_all_verified(qscrow, wallet, delivered):
    shown = qscrow("inspect", delivered(), "--artifacts", "--account", "requester", "--json")

    assert shown.code == 0 and shown.json["artefacts"]["problem"] is None
    assert {artefacts(shown)[name] for name in HIDDEN} == {"verified"}


def test_inspect__artifacts_that_do_not_match__exits_9_and_names_them(qscrow, wallet, delivered):
    job = delivered(lambda receipt: receipt["artefacts"].update(routing="0x" + "00" * 32))

    assert qscrow("inspect", job, "--artifacts").code == 0  # nobody can tell without the key
    told = qscrow("inspect", job, "--artifacts", "--account", "requester")
    assert told.code == 9 and "is not what was sealed" in told.out
    assert told.err == "error: does not match: routing; dispute the job if its time is not over\n"
    assert "receipt.artefacts.routing" in qscrow("open", job).error


def test_inspect__result_breaks_its_form__exits_9_although_its_artefacts_match(qscrow, wallet, delivered):
    job = delivered(lambda receipt: receipt.update(commitment="0x" + "00" * 32))

    told = qscrow("inspect", job, "--artifacts", "--account", "requester", "--json")

    assert told.code == 9 and "receipt.commitment" in told.json["artefacts"]["problem"]


def test_inspect__artifacts_of_a_result_that_cannot_be_opened__exits_9(qscrow, wallet, home, job):
    terms = fetch_job(wallet.chain, job).terms
    rubbish = put_object(BlockStore(home / "content"), b"rubbish")
    wallet.oracle.send(wallet.chain.escrow.deliver(job, terms, CHARGE, rubbish))

    for account in ([], ["--account", "requester"]):
        told = qscrow("inspect", job, "--artifacts", *account)
        assert told.code == 9 and "receipt            MISMATCH" in told.out


def test_inspect__artifacts_with_another_account__is_told_so(qscrow, wallet, delivered):
    failed = qscrow("inspect", delivered(), "--artifacts", "--account", "stranger")

    assert failed.code == 5 and "use the account that submitted it" in failed.error


def test_inspect__artifacts_of_an_earlier_version__are_shown_as_such(qscrow, wallet, delivered):
    said = qscrow("inspect", delivered(lambda receipt: receipt.pop("artefacts")), "--artifacts")

    assert said.code == 0 and said.out.count("not in this receipt (written by an earlier version)") == len(HIDDEN)


def test_inspect__artifacts_of_a_receipt_without_its_fields__exits_9(qscrow, wallet, job, deliver):
    deliver(job)

    said = qscrow("inspect", job, "--artifacts")

    assert said.code == 9 and "version: is missing" in said.out


def test_open__artifacts__each_can_be_checked_alone_by_somebody_else(qscrow, wallet, delivered, monkeypatch):
    job = delivered()
    said = qscrow("open", job, "--artifacts", "shown")
    assert said.code == 0 and "wrote 8 artefacts to shown" in said.out
    files = {path.stem: path for path in Path("shown").iterdir()}
    assert set(files) == {*IN_RECEIPT, "settlement"}
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}

    monkeypatch.delenv("QSCROW_ACCOUNT")
    for name in IN_RECEIPT:
        assert "verified" in qscrow("inspect", job, "--disclosed", files[name]).out
    shown = json.loads(files["raw_result"].read_text())
    shown["document"]["counts"]["00000"] += 1
    files["raw_result"].write_text(json.dumps(shown))
    told = qscrow("inspect", job, "--disclosed", files["raw_result"], "--json")
    assert told.code == 9 and told.json["disclosed"]["status"] == "MISMATCH"
    assert "is no artefact" in qscrow("inspect", job, "--disclosed", files["settlement"]).error
    assert "cannot be read" in qscrow("inspect", job, "--disclosed", "nowhere").error


@pytest.mark.parametrize("name", ["taken", "taken/file", "taken/file/below"])
def test_open__artifacts_into_a_folder_in_use__changes_nothing(qscrow, wallet, delivered, name):
    job = delivered()
    Path("taken").mkdir()
    Path("taken/file").write_text("mine")

    assert qscrow("open", job, "--artifacts", name).code == 2
    assert [path.read_text() for path in Path("taken").iterdir()] == ["mine"]


# ------------------------------------------------------------------------------------------------ open


def test_open__delivered__shows_the_histogram_and_what_is_known(qscrow, wallet, job, deliver):
    deliver(job)

    shown = qscrow("open", job)

    assert shown.code == 0
    assert f"Job {job}: 1024 shots on aer-stabilizer" in shown.out
    assert "11111 │█" in shown.out
    assert "Unverified" in shown.out and "0.004 ether" in shown.out
    assert "not said" in shown.out  # this document tells no depth


def test_open__json__is_the_document_and_the_receipt(qscrow, wallet, job, deliver):
    result = deliver(job)

    shown = qscrow("open", job, "--json").json

    assert set(shown) == {"job", "tier", "result", "receipt"}
    assert (shown["job"], shown["tier"], shown["result"]) == (job, "Unverified", result)
    assert shown["receipt"]["commitment"].startswith("0x")


def test_open__out__writes_a_new_private_file(qscrow, wallet, job, deliver):
    result = deliver(job)

    assert "wrote result.json" in qscrow("open", job, "--out", "result.json").out

    assert json.loads(Path("result.json").read_text()) == result
    assert Path("result.json").stat().st_mode & 0o777 == 0o600
    assert "exists already" in qscrow("open", job, "--out", "result.json").error
    assert "cannot be written" in qscrow("open", job, "--out", "no/such/folder").error


def test_open__oracle_writes_terminal_controls__they_are_escaped(qscrow, wallet, job, deliver):
    deliver(job, backend={"name": "\x1b]0;owned\x07", "engine": "\x1b[2J" + "x" * 10_000})

    shown = qscrow("open", job)

    assert "\x1b" not in shown.out and "\x07" not in shown.out
    assert max(map(len, shown.out.splitlines())) < 250


def test_open__not_delivered__says_what_to_do(qscrow, wallet, job):
    failed = qscrow("open", job)

    assert failed.code == 2
    assert f"job: job {job} is Created and has no result; `qscrow watch` waits for it" in failed.error


def test_open__another_account__is_told_so(qscrow, wallet, job, deliver):
    deliver(job)

    failed = qscrow("open", job, "--account", "stranger")

    assert failed.code == 5
    assert "account: job" in failed.error and "use the account that submitted it" in failed.error


def test_open__wrong_password__is_one_line(qscrow, wallet, tmp_path, job, deliver):
    deliver(job)
    (tmp_path / "wrong").write_text("guess")

    failed = qscrow("open", job, "--password-file", tmp_path / "wrong")

    assert failed.code == 5
    assert "wrong password" in failed.error


def test_open__charge_is_not_the_chains__is_a_seal_error(qscrow, wallet, job, deliver):
    deliver(job, charge="1")

    failed = qscrow("open", job, "--out", "result.json")

    assert failed.code == 5
    assert "charge: says 1 wei, the chain says" in failed.error
    assert not Path("result.json").exists()


def test_watch_exit_codes__documented__in_the_help(qscrow):
    said = " ".join(qscrow("watch", "--help").out.split())

    for state, code in following.WATCH_EXIT_CODES.items():
        assert f"{code}: {state.label.lower()}" in said
    assert State.SETTLED in following.WATCH_EXIT_CODES
