from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml

from oracle.chain.history import fetch_job
from oracle.cli import localnet
from oracle.content.store import BlockStore, get_object
from oracle.jobs.canonical import digest
from oracle.jobs.spec import parse_spec
from oracle.jobs.terms import Terms
from oracle.sealing.keys import SealingKey

JOB_FIELDS = {"chain_id", "locked", "accept_by", "deliver_by", "spec", "circuit", "terms"}
BUDGET = 10**16


@pytest.fixture
def draft(qscrow) -> Path:
    """A draft in the working folder."""
    assert qscrow("init", "job.yaml").code == 0
    return Path("job.yaml")


def edited(draft: Path, old: str, new: str) -> Path:
    text = draft.read_text()
    assert old in text
    draft.write_text(text.replace(old, new, 1))
    return draft


# ------------------------------------------------------------------------------------------------ init


def test_init__empty_folder__writes_draft_and_circuit(qscrow):
    made = qscrow("init", "--json")

    assert made.json == {"written": ["job.yaml", "ghz.qasm"]}
    assert Path("job.yaml").read_text().count("#") > 10
    assert "OPENQASM 3" in Path("ghz.qasm").read_text()


def test_init__again__refuses_and_changes_nothing(qscrow, draft):
    draft.write_text("mine")

    assert "job.yaml: exists already" in qscrow("init", draft).error
    assert draft.read_text() == "mine"


def test_init__unknown_example__lists_the_known(qscrow):
    failed = qscrow("init", "--example", "teleport")

    assert "choose from ghz, bernstein_vazirani" in failed.error
    assert list(Path().iterdir()) == []


def test_init__place_that_cannot_be__is_one_line(qscrow):
    Path("file").write_text("")

    assert "cannot be written" in qscrow("init", "file/job.yaml").error


# -------------------------------------------------------------------------------------------- simulate


def test_simulate__draft__shows_a_histogram(qscrow, draft):
    shown = qscrow("simulate", draft)

    assert shown.code == 0
    assert "1024 shots on aer-stabilizer" in shown.out
    assert "11111 │█" in shown.out
    assert shown.err == ""


def test_simulate__explain__shows_the_choice_and_every_candidate(qscrow, draft):
    shown = qscrow("simulate", draft, "--explain").out

    assert shown.startswith("local_simulator: aer.stabilizer")
    for name in ("stabilizer", "statevector", "matrix_product_state", "density_matrix", "stim", "qsim"):
        assert f"aer.{name}  [" in shown
    assert "+ aer.stabilizer  [taken]" in shown and "Clifford" in shown


def test_simulate__explain_of_too_much__is_for_review_and_names_the_probe(qscrow):
    qscrow("init", "job.yaml", "--example", "too_wide")
    shown = qscrow("simulate", "job.yaml", "--explain").out

    assert shown.startswith("reject_requires_review: nothing here may take it")
    assert "probe" in shown and "[truncated]" in shown and "16 TiB" in shown


def test_simulate__explain_json__is_the_decision(qscrow, draft):
    decision = qscrow("simulate", draft, "--explain", "--json").json

    assert (decision["choice"], decision["backend"], decision["method"]) == ("local_simulator", "aer", "stabilizer")
    assert len(decision["candidates"]) == 7 and decision["circuit"]["clifford"] is True


def test_simulate__json__is_the_run(qscrow, draft):
    run = qscrow("simulate", draft, "--shots", "10", "--seed", "3", "--json").json

    assert (run["shots"], run["seed"], sum(run["counts"].values())) == (10, 3, 10)
    assert {"engine", "versions", "transpiled_digest", "qubits", "depth", "operations"} <= set(run)


def test_simulate__noise__is_that_of_the_option_or_the_draft(qscrow, draft):
    shown = qscrow("simulate", draft, "--noise", "two_qubit=0.3,readout=0.1")
    assert "on aer-density_matrix" in shown.out and "noise two_qubit 0.3, readout 0.1" in shown.out
    Path(draft).write_text(Path(draft).read_text().replace("  seed: 7", "  seed: 7\n  noise: {readout: 0.5}"))
    shown = qscrow("simulate", draft, "--explain").out
    assert "noise after every gate" in shown and "+ aer.density_matrix  [taken]" in shown


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ("0.1", "noise: '0.1' is no list of rates; write for example one_qubit=0.001"),
        ("readout=much", "is no list of rates"),
        ("readout=0.1,readout=0.2", "noise: 'readout=0.1,readout=0.2' says one rate twice; write for example"),
        ("readout=nan", "quantum.noise.readout: nan is not a number; set a rate from 0 up"),
        ("readout=0.6", "quantum.noise.readout: 0.6 must be at most 0.5"),
        ("readout=0", "quantum.noise: asks for none: every rate is 0"),
    ],
)
def test_simulate__unusable_noise__is_one_line(qscrow, draft, rates, said):
    failed = qscrow("simulate", draft, "--noise", rates)

    assert (failed.code, failed.out) == (2, "")
    assert said in failed.error


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("ghz.qasm", "none.qasm", 2, "quantum.circuit: there is no file none.qasm; check the path"),
        ("shots: 1024", "shots: many", 2, "quantum.shots:"),
        ("openqasm3", "openqasm2", 6, "circuit:"),
        ("title:", "titel:", 2, "titel: unknown field; did you mean title?"),
    ],
)
def test_simulate__unusable_draft__is_one_line(qscrow, draft, old, new, code, said):
    failed = qscrow("simulate", edited(draft, old, new))

    assert failed.code == code
    assert said in failed.error


# ---------------------------------------------------------------------------------------------- submit


def test_submit__addressed__job_on_chain_is_what_was_printed(qscrow, wallet, home, draft):
    done = qscrow("submit", draft, "--oracle", "oracle", "--bond", "7 gwei", "--yes", "--json").json

    assert set(done) == JOB_FIELDS | {"job", "transaction", "gas", "fee"}
    job = fetch_job(wallet.chain, done["job"])
    assert job.terms == Terms.from_json(done["terms"])
    assert (job.terms.oracle, job.terms.bond) == (wallet.address("oracle"), 7 * 10**9)
    assert (job.terms.budget, done["locked"]) == (BUDGET, str(BUDGET))
    assert (job.terms.accept_by, job.terms.deliver_by) == (done["accept_by"], done["deliver_by"])
    key = SealingKey.load(home / "sealing" / "requester.json", "correct horse")
    assert job.terms.seal_to == key.for_spec(job.terms.spec).public
    store = BlockStore(home / "content")
    spec = parse_spec(get_object(store, job.terms.spec, 2**20))
    assert spec["quantum"]["circuit"] == done["circuit"]
    assert done["circuit"].endswith(digest(Path("ghz.qasm").read_bytes()).hex())


def test_submit__open__text_tells_job_money_deadlines_and_links(qscrow, wallet, draft):
    said = qscrow("submit", draft, "--oracle", "open", "--bond", "0.01 ether", "--yes").out

    job = wallet.chain.escrow.job_count()
    for part in (
        f"Job {job} is on chain 31337",
        "0.01 ether",
        "accept by",
        "UTC",
        "ipfs://f01551220",
        "watch",
    ):
        assert part in said
    assert fetch_job(wallet.chain, job).terms.is_open


def test_submit__validator_and_arbiter__are_in_the_terms(qscrow, wallet, draft):
    with draft.open("a") as file:
        file.write("timeouts: {challenge_seconds: 60}\nsettlement: {release_on: challenge}\n")

    done = qscrow(
        *("submit", draft, "--oracle", "oracle", "--arbiter", wallet.address("stranger"), "--yes", "--json"),
    ).json

    assert done["terms"]["arbiter"] == wallet.address("stranger")
    assert done["terms"]["challenge_period"] == "60"


def test_submit__dry_run__tells_all_and_changes_nothing(qscrow, wallet, draft, untouched):
    untouched()

    planned = qscrow("submit", draft, "--oracle", "oracle", "--dry-run", "--json").json
    said = qscrow("submit", draft, "--oracle", "oracle", "--dry-run").out

    assert set(planned) == JOB_FIELDS | {"dry_run", "spec_document"}
    assert planned["spec_document"]["budget"]["amount"] == str(BUDGET)
    assert said.startswith("Nothing was sent.")


def test_submit__question_declined__changes_nothing(qscrow, wallet, draft, untouched, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    untouched()

    declined = qscrow("submit", draft, "--oracle", "oracle")

    assert declined.code == 1
    assert "nothing was sent" in declined.out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_submit__nobody_to_ask__needs_yes(qscrow, wallet, draft, untouched, flags):
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", *flags)

    assert (failed.code, failed.out) == (2, "")
    assert "--yes" in failed.err


REFUSED_OPTIONS = [
    ([], 2, "bond: an open job needs a bond; give for example"),
    (["--oracle", "nobody"], 2, "oracle: 'nobody' is neither an address nor an account"),
    (["--oracle", "0x12"], 2, "oracle: '0x12' is not an address; give 0x and 40 hex digits"),
    (["--oracle", "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"], 2, "is not a registered oracle; choose"),
    (["--oracle", "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96046"], 2, "has a wrong checksum; copy"),
    (["--oracle", "stranger"], 2, "is not a registered oracle"),
    (["--oracle", "oracle", "--bond", "-1"], 2, "bond: '-1' is not an amount"),
    (["--oracle", "oracle", "--bond", "1e30 ether"], 2, "bond: '1e30 ether' is not an amount"),
    (["--oracle", "oracle", "--bond", "99999999999 ether"], 2, "bond: '99999999999 ether' is more than fits"),
    (
        ["--oracle", "oracle", "--bond", "2 ether"],
        2,
        "bond: the oracle's free stake is 1 ether, less than 2 ether",
    ),
    (["--oracle", "oracle", "--validator-fee", "5"], 2, "validator_fee: there is no validator to pay"),
    (["--oracle", "oracle", "--validator", "stranger"], 2, "validator: "),
    (["--oracle", "oracle", "--arbiter", "stranger"], 2, "timeouts.challenge_seconds: goes with"),
    (["--oracle", "oracle", "--account", "nobody"], 2, "nobody: no such account (known: "),
    (["--oracle", "oracle", "--account", "../requester"], 2, "is not a name"),
    (["--oracle", "oracle", "--account", "pauper"], 3, "account: 0x"),
    (["--oracle", "oracle", "--password-file", "absent"], 2, "absent: cannot be read"),
    (["--oracle", "oracle", "--password-file", "ghz.qasm"], 2, "wrong password; give the right"),
    (["--oracle", "oracle", "--rpc", "ftp://x"], 2, "is not an http(s) URL; give http://host:port"),
    (["--oracle", "oracle", "--rpc", "nonsense"], 2, "is not an http(s) URL; give http://host:port"),
]


@pytest.mark.parametrize(("options", "code", "said"), REFUSED_OPTIONS)
def test_submit__unusable_option__is_one_line_and_changes_nothing(
    qscrow, wallet, draft, untouched, options, code, said
):
    untouched()

    failed = qscrow("submit", draft, "--yes", *options)

    assert said in failed.error
    assert failed.code == code


REFUSED_DRAFTS = [
    ("amount: 0.01 ether", "amount: 20000 ether", 3, "account: 0x"),
    ("amount: 0.01 ether", "amount: -1", 2, "budget.amount: '-1' is not an amount"),
    ("amount: 0.01 ether", "amount: 0", 2, "budget.amount: "),
    ("amount: 0.01 ether", "amount: [1]", 2, "budget.amount: is not an amount"),
    ("  amount: 0.01 ether", "  {}", 2, "budget.amount: is missing"),
    ("shots: 1024", "shotz: 1024", 2, "quantum.shotz: unknown field; did you mean shots?"),
    ("shots: 1024", "shots: -3", 2, "quantum.shots: -3 must be at least 1"),
    ("shots: 1024", "shots: 1.5", 2, "quantum.shots: 1.5 must be of type integer"),
    ("seed: 7", "noise: {readout: 1e-3}", 2, '"1e-3" must be of type number; write for example 0.001'),
    ("seed: 7", "observables: [[ZZ, 1]]", 2, '"ZZ" must be of type array; write a list of observables'),
    ("circuit: ghz.qasm", "circuit: job.yaml", 6, "circuit"),
    ("circuit: ghz.qasm", "circuit: ..", 2, "quantum.circuit: .. is not a plain file"),
    ("job_type: smoke_test", "job_type: fun", 2, 'job_type: "fun" is not one of smoke_test'),
    ("job_type: smoke_test", "privacy: {circuit: secret}", 2, "privacy.circuit: "),
    ("job_type: smoke_test", "settlement: {release_on: challenge}", 2, "settlement.release_on: "),
    (
        "job_type: smoke_test",
        "timeouts: {accept_seconds: 0}",
        2,
        "timeouts.accept_seconds: 0 must be at least 1",
    ),
    ("job_type: smoke_test", "\tjob_type: smoke_test", 2, "spec: is not valid YAML"),
    ("job_type: smoke_test", "job_type: !!python/object:os.system x", 2, "spec: is not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "code", "said"), REFUSED_DRAFTS, ids=range(len(REFUSED_DRAFTS)))
def test_submit__unusable_draft__is_one_line_and_changes_nothing(
    qscrow, wallet, draft, untouched, old, new, code, said
):
    edited(draft, old, new)
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", "--yes")

    assert said in failed.error
    assert failed.code == code


def test_submit__no_draft__is_one_line(qscrow, wallet, untouched):
    untouched()

    assert "draft: there is no file none.yaml" in qscrow("submit", "none.yaml", "--yes").error


def test_submit__json_failure__names_the_field(qscrow, wallet, draft, untouched):
    untouched()

    failed = qscrow("submit", draft, "--yes", "--json")

    assert (failed.code, failed.out) == (2, "")
    assert json.loads(failed.err)["field"] == "bond"


def test_submit__chain_unreachable__says_where_it_was_looked_for(qscrow, wallet, draft, untouched):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        untouched()

        failed = qscrow("submit", draft, "--oracle", "oracle", "--yes", "--rpc", url)

    assert (failed.code, f"cannot reach {url}" in failed.error) == (3, True)
    assert "--rpc" in failed.error


def test_submit__no_deployment_for_the_chain__says_how_to_get_one(qscrow, wallet, home, draft, untouched):
    (home / "deployments" / "31337.json").rename(home / "deployments" / "1.json")
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", "--yes")

    assert failed.code == 2
    assert "no deployment of the contracts is known for chain 31337; deploy with" in failed.error


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"chainId": 1}, 2, "is for chain 1, not 31337"),
        ({"jobEscrow": "0x" + "11" * 20}, 3, "there is no contract at 0x1111"),
        ({"jobEscrow": "0x12"}, 2, "jobEscrow: '0x12' is not an address"),
        ({"deployedAtBlock": -1}, 2, "deployedAtBlock must be a block number"),
        ({"resultNFT": None}, 2, "resultNFT"),
    ],
)
def test_submit__deployment_file_is_wrong__says_how(qscrow, wallet, home, draft, untouched, change, code, said):
    path = home / "deployments" / "31337.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", "--yes")

    assert said in failed.error
    assert failed.code == code


def test_submit__account_without_sealing_key__says_so(qscrow, wallet, home, draft, untouched):
    (home / "sealing" / "requester.json").unlink()
    untouched()

    assert "requester: has no sealing key; restore" in qscrow("submit", draft, "--oracle", "oracle", "--yes").error


def test_submit__several_accounts_and_none_chosen__lists_them(qscrow, wallet, draft, untouched, monkeypatch):
    monkeypatch.delenv("QSCROW_ACCOUNT")
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", "--yes")

    assert "account: no account is chosen; give --account, one of: oracle, pauper, requester" in failed.error


def test_submit__unknown_setting_in_the_config__is_refused(qscrow, wallet, home, draft, untouched):
    (home / "config.toml").write_text('accuont = "requester"\n')
    untouched()

    assert "accuont: unknown setting; did you mean account?" in qscrow("submit", draft, "--yes").error


def test_submit__store_cannot_be_written__sends_nothing(qscrow, wallet, home, draft, untouched):
    (home / "content").write_text("a file where the store should be")
    untouched()

    failed = qscrow("submit", draft, "--oracle", "oracle", "--yes")

    assert failed.code == 4
    assert "content: cannot be used" in failed.error


def test_localnet_accounts__are_named_like_the_readme_says():
    assert localnet.ACCOUNTS == ("requester", "oracle")


# ----------------------------------------------------------------------------------------------- quote


@pytest.mark.parametrize("example", ["instructions", "sweep"])
def test_init__example_in_json__can_be_simulated_and_quoted(qscrow, example):
    assert qscrow("init", "--example", example, "--json").json == {"written": ["job.yaml", f"{example}.json"]}
    assert qscrow("simulate", "job.yaml").code == 0
    assert qscrow("quote", "job.yaml", "--price-per-shot", "1 gwei").code == 0


def test_quote__prices_by_hand__says_what_it_costs_and_what_comes_back(qscrow, draft):
    shown = qscrow("quote", draft, "--price-base", "0.001 ether", "--price-per-shot", "1 gwei")

    assert shown.code == 0
    assert shown.out.startswith("0.001001024 ether for 1024 shots on a simulator")
    assert "0.008998976 ether" in shown.out


def test_quote__job_for_hardware__says_so(qscrow, draft):
    document = yaml.safe_load(draft.read_text())
    document["quantum"]["backend_policy"] = "ibm"
    draft.write_text(yaml.safe_dump(document))
    shown = qscrow("quote", draft, "--price-base", "0.001 ether")
    assert shown.out.startswith("0.001 ether for 1024 shots on hardware")


def test_quote__budget_too_low__says_how_much_to_lock(qscrow, draft):
    refused = qscrow("quote", draft, "--price-base", "1 ether", "--json")

    assert refused.code == 7
    assert refused.json["charge"] == str(10**18)
    assert "lock 1 ether or more" in refused.json["objections"][0]


def test_quote__profile_in_a_file__is_used(qscrow, draft):
    profile = {"type": "qscrow.profile", "version": 1, "price_base": "5", "price_per_shot": "1", "max_qubits": 4}
    Path("profile.json").write_text(json.dumps(profile))
    shown = qscrow("quote", draft, "--profile", "profile.json")

    assert shown.code == 7
    assert "1029 wei" in shown.out and "refused: it takes 4 qubits at most, the job has 5" in shown.out


def test_quote__registered_oracle__has_its_prices_on_chain(qscrow, wallet, monkeypatch):
    monkeypatch.setenv("QSCROW_PRICES_BASE", "0.002 ether")
    monkeypatch.setenv("QSCROW_PRICES_PER_SHOT", "1 gwei")
    assert qscrow("oracle", "register", "--account", "oracle").code == 0
    assert qscrow("init").code == 0
    shown = qscrow("quote", "job.yaml", "--oracle", "oracle", "--json").json

    assert (shown["charge"], shown["objections"]) == (str(2 * 10**15 + 1024 * 10**9), [])


def test_quote__oracle_that_has_none__says_what_else_to_give(qscrow, wallet):
    assert qscrow("init").code == 0
    failed = qscrow("quote", "job.yaml", "--oracle", "stranger")

    assert "has published no profile; ask its operator, or give the prices yourself" in failed.error


@pytest.mark.parametrize("options", [(), ("--oracle", "0x" + "11" * 20, "--price-base", "1 wei")])
def test_quote__prices_from_nowhere_or_two_places__says_what_to_give(qscrow, draft, options):
    assert "--oracle, or --profile" in qscrow("quote", draft, *options).error
