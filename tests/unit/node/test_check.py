from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oracle.backends.ibm.box import Box
from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import RpcServer, dev_accounts, in_process_chain
from oracle.chain.sender import Sender
from oracle.chain.signers import ExternalSigner
from oracle.circuits.limits import CircuitLimits
from oracle.content.gateway import GatewayServer
from oracle.content.remote import GatewayStore
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentUnavailable, InputError
from oracle.node import check as module
from oracle.node.check import Finding, Status, Subject, contract_of, run_checks
from oracle.node.config import NodeConfig
from oracle.node.database import claim_file
from oracle.node.journal import Journal
from oracle.sealing.keys import SealingKey

STAKE = 10**18
KEY = SealingKey.from_bytes(b"k" * 32)


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    """A chain with the contracts and a registered oracle, reached over HTTP as a node does."""
    w3 = in_process_chain()
    deployer, operator, stranger = dev_accounts(3)
    deployment = deploy(w3, deployer)
    chain = ChainClient(w3, deployment)
    Sender(w3, operator).send(chain.registry.register(KEY.public, bytes(32), STAKE))
    with RpcServer(w3, 0) as server:
        yield SimpleNamespace(chain=chain, url=server.url, operator=operator, stranger=stranger, deployment=deployment)


@pytest.fixture
def subject(served, tmp_path, monkeypatch) -> Subject:
    """A node that can run; the clock is the chain's."""
    served.deployment.save(tmp_path / "deployments")
    return Subject(
        home=tmp_path,
        rpc=(served.url,),
        config=NodeConfig(workers=1),
        limits=CircuitLimits(),
        deployments=lambda _: tmp_path / "deployments",
        journal=lambda _, oracle: tmp_path / "journals" / f"{oracle}.db",
        address=lambda: served.operator.address,
        open_account=lambda: served.operator,
        open_sealing_key=lambda: KEY,
        stores={"the embedded store": lambda: BlockStore(tmp_path / "content")},
        wall=lambda: served.chain.block().timestamp,
    )


@pytest.fixture
def only(monkeypatch) -> Any:
    """Runs one check alone: ``only(subject, "clock")``."""
    every = module._Checks.all

    def run(subject: Subject, name: str, timeout: float = 60) -> Finding:
        monkeypatch.setattr(module._Checks, "all", lambda self: ((n, c) for n, c in every(self) if n == name))
        (finding,) = run_checks(subject, timeout=timeout)
        return finding

    return run


def journal_of(subject: Subject, served) -> Path:
    """A journal such as a node that ran once leaves behind."""
    path = subject.journal(served.chain.chain_id, served.operator.address)
    identity = {
        "chain_id": served.chain.chain_id,
        "escrow": served.deployment.job_escrow,
        "oracle": served.operator.address,
    }
    Journal(path, **identity).close()
    return path


@contextmanager
def answering(answer: Any) -> Iterator[str]:
    """An HTTP server that answers every POST with ``answer(request)`` as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ------------------------------------------------------------------------------------------------ together


def test_run_checks__a_node_that_can_run__nothing_fails_and_each_is_heard_in_order(subject):
    heard = []

    findings = run_checks(subject, found=heard.append)

    assert heard == findings
    assert {finding.check: finding for finding in findings if finding.status == Status.FAIL} == {}
    assert [finding.check for finding in findings] == [
        *("endpoint 1", "clock", "contracts", "gas price", "account", "balance", "registration", "sealing key"),
        *("stake", "credit", "content in the embedded store", "disk", "sandbox", "memory", "journal"),
    ]
    assert all(finding.text for finding in findings)


def test_run_checks__no_chain__says_it_once_and_tests_the_rest(subject):
    findings = run_checks(replace(subject, rpc=(f"http://user:hunter2@127.0.0.1:{closed_port()}",)))

    by_status = {status: [f.check for f in findings if f.status == status] for status in Status}
    assert by_status[Status.FAIL] == ["endpoint 1", "contracts"]
    assert {"clock", "balance", "registration", "stake", "credit", "journal"} <= set(by_status[Status.SKIP])
    assert {"account", "sandbox", "content in the embedded store"} <= set(by_status[Status.OK])
    assert "hunter2" not in repr(findings)


def test_run_checks__every_failure__has_a_remedy(subject):
    findings = run_checks(
        replace(
            subject,
            rpc=("http://127.0.0.1:9",),
            stores={"x": lambda: GatewayStore(f"http://127.0.0.1:{closed_port()}", timeout=1)},
        )
    )

    assert all(finding.remedy for finding in findings if finding.status == Status.FAIL)


def test_run_checks__one_hangs__is_given_up_on(subject, only):
    never = threading.Event()

    finding = only(replace(subject, stores={"slow": never.wait}), "content in slow", timeout=0.01)

    never.set()
    assert (finding.status, finding.text) == (Status.FAIL, "did not end within 0 s")


def test_run_checks__unexpected_error__fails_without_its_text(subject, only):
    def explode() -> Any:
        raise RuntimeError("http://user:hunter2@host")

    finding = only(replace(subject, open_account=explode), "account")

    assert (finding.status, finding.text) == (Status.FAIL, "failed with RuntimeError")


def test_as_dict__holds_plain_texts():
    found = Finding("clock", Status.WARN, "late", "set it")

    assert json.loads(json.dumps(found.as_dict())) == {
        "check": "clock",
        "status": "warn",
        "text": "late",
        "remedy": "set it",
    }


# --------------------------------------------------------------------------------------------------- chain


@pytest.mark.parametrize(("age", "status"), [(30, Status.OK), (400, Status.WARN), (4_000, Status.FAIL)])
def test_endpoint__old_head__is_told(subject, served, only, age, status):
    now = served.chain.block().timestamp + age

    finding = only(replace(subject, wall=lambda: now), "endpoint 1")

    # py-evm's blocks here are a second apart, so that ten minutes of silence are a lot
    assert finding.status == status
    assert (f"{age} s old" in finding.text) == (status != Status.OK)


def test_endpoint__another_chain__fails(subject, only):
    def other(request: dict[str, Any]) -> dict[str, Any]:
        block = {"number": "0x1", "timestamp": "0x1", "hash": "0x" + "11" * 32, "transactions": []}
        return {"result": "0x5" if request["method"] == "eth_chainId" else block}

    with answering(other) as url:
        finding = only(replace(subject, rpc=(*subject.rpc, url)), "endpoint 2")

    assert finding.status == Status.FAIL
    assert "is on chain 5, not 31337" in finding.text


@pytest.mark.parametrize(("late", "status"), [(10, Status.OK), (30, Status.WARN), (90, Status.FAIL)])
def test_clock__behind_the_chain__is_told(subject, served, only, late, status):
    now = served.chain.block().timestamp - late

    assert only(replace(subject, wall=lambda: now), "clock").status == status


def test_contracts__another_contract_there__fails(subject, served, only, tmp_path):
    mixed = replace(served.deployment, job_escrow=served.deployment.oracle_registry)
    mixed.save(tmp_path / "mixed")

    finding = only(replace(subject, deployments=lambda _: tmp_path / "mixed"), "contracts")

    assert finding.status == Status.FAIL
    assert "should be the JobEscrow and is OracleRegistry" in finding.text


def test_contract_of__each_with_its_immutables__is_told_apart(served):
    d = served.deployment
    places = {"JobEscrow": d.job_escrow, "OracleRegistry": d.oracle_registry, "ResultNFT": d.result_nft}
    for name, address in places.items():
        code = bytes(served.chain.w3.eth.get_code(address))
        assert contract_of(code) == name
        assert contract_of(code[:-60] + bytes([code[-60] ^ 1]) + code[-59:]) is None
    assert contract_of(b"") is None


def test_gas_price__above_the_cap__fails(subject, only):
    config = NodeConfig(workers=1, max_fee_wei=1, max_tip_wei=1)

    finding = only(replace(subject, config=config), "gas price")

    assert finding.status == Status.FAIL
    assert "transactions.max_fee" in finding.remedy


# ------------------------------------------------------------------------------------------------- account


def test_account__key_of_another__fails(subject, served, only):
    finding = only(replace(subject, open_account=lambda: served.stranger), "account")

    assert finding.status == Status.FAIL
    assert served.stranger.address in finding.text


def test_registration__and_what_follows__for_a_stranger(subject, served, only):
    stranger = replace(subject, address=lambda: served.stranger.address, open_account=lambda: served.stranger)

    assert only(stranger, "registration").status == Status.FAIL


def test_stake__none__warns(subject, served, only):
    stranger = replace(subject, address=lambda: served.stranger.address)

    assert only(stranger, "stake").status == Status.WARN


def test_balance__too_low__says_how_much_is_missing(subject, only):
    config = NodeConfig(workers=1, low_balance_wei=20_000 * 10**18)

    finding = only(replace(subject, config=config), "balance")

    assert finding.status == Status.FAIL
    assert finding.remedy.startswith("send it 1000")


def test_sealing_key__not_the_registered_one__fails(subject, only):
    other = SealingKey.from_bytes(b"o" * 32)

    finding = only(replace(subject, open_sealing_key=lambda: other), "sealing key")

    assert finding.status == Status.FAIL
    assert "not the registered one" in finding.text


@pytest.mark.parametrize(
    ("kind", "answer", "status"),
    [
        ("clef", {"result": "6.1.0"}, Status.OK),
        ("clef", {"error": {"code": 1, "message": "no"}}, Status.FAIL),
        ("web3signer", {"result": ["{address}"]}, Status.OK),
        ("web3signer", {"result": ["0x" + "00" * 20]}, Status.FAIL),
    ],
)
def test_signer__by_its_answer__is_judged(subject, served, only, kind, answer, status):
    text = json.dumps(answer).replace("{address}", served.operator.address.lower())
    with answering(lambda _: json.loads(text)) as url:
        signer = ExternalSigner(url, served.operator.address, kind)
        assert only(replace(subject, signer=signer), "signer").status == status


def test_signer__not_running__fails_without_its_url(subject, served, only):
    signer = ExternalSigner(f"http://user:hunter2@127.0.0.1:{closed_port()}", served.operator.address)

    finding = only(replace(subject, signer=signer), "signer")

    assert finding.status == Status.FAIL
    assert "does not answer" in finding.text and "hunter2" not in finding.text


# ------------------------------------------------------------------------------------------------- machine


def test_content__store_that_cannot_be_written__fails(subject, only, tmp_path):
    (tmp_path / "file").write_text("in the way")

    finding = only(replace(subject, stores={"s": lambda: BlockStore(tmp_path / "file")}), "content in s")

    assert finding.status == Status.FAIL


def test_content__gateway_without_uploads__is_read_from(subject, only, tmp_path):
    with GatewayServer(BlockStore(tmp_path / "theirs")) as server:
        finding = only(replace(subject, stores={"g": lambda: GatewayStore(server.url)}), "content in g")

    assert finding.status == Status.WARN
    assert "only read from" in finding.text


def test_content__gateway_with_uploads__is_written_and_read(subject, only, tmp_path):
    with GatewayServer(BlockStore(tmp_path / "theirs"), uploads=BlockStore(tmp_path / "up")) as server:
        finding = only(replace(subject, stores={"g": lambda: GatewayStore(server.url)}), "content in g")

    assert (finding.status, finding.text) == (Status.OK, "a block was written, read and verified")


def test_content__store_that_lies__fails(subject, only):
    class Liar(BlockStore):
        def get(self, cid, *, max_bytes):
            return b"something else"

    finding = only(replace(subject, stores={"l": lambda: Liar(subject.home / "liar")}), "content in l")

    assert (finding.status, finding.text) == (Status.FAIL, "gave back other bytes")


@pytest.mark.parametrize(("free", "status"), [(1, Status.FAIL), (2**30, Status.WARN), (2**40, Status.OK)])
def test_disk__little_left__is_told(subject, only, monkeypatch, free, status):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))

    assert only(replace(subject, home=subject.home / "not" / "made"), "disk").status == status


def test_sandbox__limits_no_circuit_fits_in__fails(subject, only):
    finding = only(replace(subject, limits=CircuitLimits(output_bytes=1)), "sandbox")

    assert finding.status == Status.FAIL
    assert finding.remedy


def test_memory__more_than_there_is__warns(subject, only):
    greedy = replace(subject, config=NodeConfig(workers=1024))

    assert only(greedy, "memory").status == Status.WARN


def test_cluster__nobody_there__fails(subject, only, monkeypatch):
    monkeypatch.setattr("oracle.backends.cluster.CONNECT_SECONDS", 1)
    config = NodeConfig(workers=1, executor="dask", dask_scheduler=f"tcp://127.0.0.1:{closed_port()}")

    finding = only(replace(subject, config=config), "cluster")

    assert finding.status == Status.FAIL
    assert finding.remedy


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box(["fake_manila"]) as box:
        yield box


@pytest.fixture
def with_ibm(subject, box, tmp_path) -> Any:
    """The subject with the box for IBM, and changes."""
    token = tmp_path / "ibm.key"
    token.touch(mode=0o600)
    token.write_text(box.token + "\n")
    settings = {
        "ibm_backends": "box_manila",
        "ibm_url": box.url,
        "ibm_instance": box.instance,
        "ibm_token_file": str(token),
    }
    return lambda **changes: replace(subject, config=NodeConfig(**{**settings, **changes}))


def test_ibm__not_used__is_not_checked(subject):
    assert "IBM" not in [name for name, _ in module._Checks(subject).all()]


def test_ibm__answers__tells_every_queue(with_ibm, only, box):
    box.waiting["box_manila"] = 3
    finding = only(with_ibm(), "IBM")
    assert finding.status == Status.OK
    assert finding.text.endswith("; box_manila: 3 jobs wait there, about 90 s")


def test_ibm__backend_closed__warns(with_ibm, only, box):
    box.offline.add("box_manila")
    finding = only(with_ibm(), "IBM")
    box.offline.clear()
    assert (finding.status, finding.text.endswith("box_manila: takes no jobs now (maintenance)")) == (Status.WARN, True)


def test_ibm__out_of_reach__warns_since_other_jobs_run(with_ibm, only):
    finding = only(with_ibm(ibm_url=f"http://127.0.0.1:{closed_port()}"), "IBM")
    assert (finding.status, bool(finding.remedy)) == (Status.WARN, True)


def test_ibm__token_that_others_can_read__fails_with_the_command(with_ibm, only, tmp_path):
    (tmp_path / "ibm.key").chmod(0o644)
    finding = only(with_ibm(), "IBM")
    assert finding.status == Status.FAIL
    assert "run chmod 600 on it" in finding.text


def test_ibm__backend_of_no_such_name__fails_and_lists_those_there_are(with_ibm, only):
    finding = only(with_ibm(ibm_backends="box_manilla"), "IBM")
    assert (finding.status, finding.remedy) == (Status.FAIL, "use some of box_manila")


def test_journal__of_a_node_that_ran__is_summed_up(subject, served, only):
    path = journal_of(subject, served)

    assert only(subject, "journal").text == "0 jobs, no block read yet"
    with closing(claim_file(path)):
        assert only(subject, "journal").text.endswith("a node is running on it")


def test_journal__damaged__names_the_way_out(subject, served, only):
    path = journal_of(subject, served)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 9_000)

    finding = only(subject, "journal")

    assert finding.status == Status.FAIL
    assert "qscrow oracle rebuild" in finding.remedy


def test_run_checks__validator__needs_no_stake_and_no_account_of_an_oracle(subject, served, only):
    judge = replace(subject, role="validator", journal=lambda *_: subject.home / "verdicts.db", rival=subject.journal)
    assert "stake" not in [name for name, _ in module._Checks(judge).all()]
    assert "`qscrow validator withdraw`" in only(judge, "credit").text
    assert only(judge, "journal").text == "none yet; the validator makes one when it starts"

    journal_of(subject, served)

    finding = only(judge, "journal")
    assert finding.status == Status.FAIL and "is an oracle here as well" in finding.text


def test_journal__of_another_oracle__fails(subject, served, only):
    path = journal_of(subject, served)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'oracle'", (served.stranger.address,))

    finding = only(subject, "journal")

    assert finding.status == Status.FAIL
    assert "another node's" in finding.text


def test_journal__none_and_never_worked__is_fine(subject, only):
    assert only(subject, "journal").text == "none yet; the node makes one when it starts"


def test_port__in_use__fails_unless_the_node_uses_it(subject, served, only):
    path = journal_of(subject, served)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = replace(subject, config=NodeConfig(workers=1, metrics_port=port))

        assert only(busy, "metrics port").status == Status.FAIL
        with closing(claim_file(path)):
            assert only(busy, "metrics port").status == Status.OK
    assert only(busy, "metrics port").text == f"127.0.0.1:{port} is free"


def test_skipped__because_of_another__names_it(subject, only):
    def missing() -> str:
        raise InputError("no account is chosen", field="account", remedy="make one")

    finding = only(replace(subject, address=missing), "balance")

    assert (finding.status, finding.text) == (Status.SKIP, "cannot be tested: no account is chosen")


def test_content__unavailable__is_reported_with_its_remedy(subject, only):
    def gone() -> Any:
        raise ContentUnavailable("is full", field="content", remedy="free some space")

    finding = only(replace(subject, stores={"s": gone}), "content in s")

    assert (finding.status, finding.text, finding.remedy) == (Status.FAIL, "content: is full", "free some space")
