from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

import pytest

from oracle.chain.client import ChainClient
from oracle.chain.deploy import deploy
from oracle.chain.localnet import dev_accounts, in_process_chain
from oracle.chain.sender import Sender, Tended
from oracle.jobs.errors import ChainError, ChainUnavailable, JournalError
from oracle.node.config import NodeConfig
from oracle.node.journal import Journal, Step
from oracle.node.logs import writing
from oracle.node.watch import FUNDS_SECONDS, Watch

STAKE = 10**18


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return Watch(NodeConfig(metrics_port=65_000), clock=clock)


@dataclass
class Bench:
    chain: ChainClient
    sender: Sender
    journal: Journal


@pytest.fixture
def bench(tmp_path):
    w3 = in_process_chain()
    deployer, operator = dev_accounts(2)
    chain, sender = ChainClient(w3, deploy(w3, deployer)), Sender(w3, operator)
    sender.send(chain.registry.register(b"\x01" * 32, bytes(32), STAKE))
    identity = {"chain_id": chain.chain_id, "escrow": chain.deployment.job_escrow, "oracle": operator.address}
    journal = Journal(tmp_path / "journal.db", **identity)
    yield Bench(chain, sender, journal)
    journal.close()


def value(watch: Watch, name: str) -> float:
    (line,) = [line for line in watch.metrics.metrics_text().splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_step__each__is_counted_logged_and_shown(clock, tmp_path):
    shown = []
    watch = Watch(NodeConfig(metrics_port=65_000), show=lambda *step: shown.append(step), clock=clock)
    with writing(format="json", file=tmp_path / "log"):
        watch.step(7, Step.RAN, "")
        watch.step(8, Step.DECLINING, "too_little_time")

    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(entry["job"], entry["step"], entry.get("reason")) for entry in entries] == [
        (7, "ran", None),
        (8, "declining", "too_little_time"),
    ]
    assert shown == [(7, Step.RAN, ""), (8, Step.DECLINING, "too_little_time")]
    assert value(watch, 'qscrow_steps_total{step="ran"}') == 1
    assert value(watch, 'qscrow_declined_total{reason="too_little_time"}') == 1


def test_looked__completed__is_a_beat_with_its_blocks(watch):
    watch.looked(0.2, head=100, target=90, last=20)

    assert set(watch.health.problems()) == {"behind"}
    assert value(watch, "qscrow_behind_blocks") == 70
    assert value(watch, "qscrow_tick_seconds_count") == 1
    assert value(watch, "qscrow_healthy") == 0


@pytest.mark.parametrize(("err", "kind"), [(ChainUnavailable("gone"), "unavailable"), (ChainError("odd"), "other")])
def test_failed__by_kind__is_counted(watch, err, kind):
    watch.failed(err)

    assert value(watch, f'qscrow_rpc_errors_total{{kind="{kind}"}}') == 1


def test_troubles__reach_health_and_log(watch, tmp_path):
    with writing(format="json", file=tmp_path / "log"):
        watch.journal_failed(JournalError("disk full"))
        watch.halted(ChainError("block 7 was final"))
        watch.internal_error(3, ZeroDivisionError("oops"))

    assert watch.health.problems() == {"journal": "disk full", "halted": "block 7 was final"}
    assert value(watch, "qscrow_halted") == 1
    assert value(watch, "qscrow_internal_errors_total") == 1
    assert '"job": 3, "error": "ZeroDivisionError: oops"' in (tmp_path / "log").read_text()


def test_looked__journal_written_again__is_well(watch):
    watch.journal_failed(JournalError("disk full"))
    watch.looked(0.1, head=1, target=1, last=1)
    assert set(watch.health.problems()) == {"journal"}  # it failed within this look

    watch.looked(0.1, head=2, target=2, last=2)

    assert watch.health.problems() == {}


def test_tended__what_the_sender_did__is_counted(watch):
    watch.tended(Tended(closed=3, bumped=2, resent=0, filled=1, in_flight=4))

    assert value(watch, 'qscrow_transactions_total{event="bumped"}') == 2
    assert value(watch, 'qscrow_transactions_total{event="filled"}') == 1
    assert value(watch, 'qscrow_transactions_total{event="closed"}') == 3


def test_look_at_funds__once_a_minute__asks_the_chain(watch, bench, clock):
    watch.look_at_funds(bench.chain, bench.sender.address)
    first = value(watch, "qscrow_balance_ether")
    assert value(watch, "qscrow_free_stake_ether") == 1

    bench.sender.send(bench.chain.registry.register(b"\x01" * 32, bytes(32), STAKE))
    watch.look_at_funds(bench.chain, bench.sender.address)
    assert value(watch, "qscrow_balance_ether") == first

    clock.now += FUNDS_SECONDS
    watch.look_at_funds(bench.chain, bench.sender.address)
    assert value(watch, "qscrow_balance_ether") < first - 1
    assert value(watch, "qscrow_free_stake_ether") == 2


def test_samples__each_exposition__reads_journal_sender_and_disk(watch, bench):
    watch.samples(chain=bench.chain, journal=bench.journal, sender=bench.sender)

    assert value(watch, 'qscrow_jobs{step="seen"}') == 0
    assert value(watch, "qscrow_transactions_in_flight") == bench.sender.in_flight() == 1
    assert value(watch, "qscrow_disk_free_bytes") > 0


def test_serving__all_three_paths__answer_on_one_port(clock):
    watch = Watch(NodeConfig(metrics_port=_free_port()), clock=clock)
    with watch.serving() as url:
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/ready", timeout=5)
        watch.looked(0.1, head=1, target=1, last=1)
        for path in ("/health", "/ready", "/metrics"):
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                assert answer.status == 200
                body = answer.read()
        assert b"qscrow_head_block 1.0" in body


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
