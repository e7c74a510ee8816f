from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle import __version__
from oracle.chain.endpoints import Health as EndpointHealth
from oracle.node.journal import Step
from oracle.node.metrics import MAX_REASONS, Metrics, Unmeasured

ROOT = Path(__file__).resolve().parents[3]


def series(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    lines = [line for line in metrics.metrics_text().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def metrics():
    return Metrics()


def test_metrics_text__nothing_happened__every_known_label_is_there_at_zero(metrics):
    found = series(metrics)

    assert all(found[f'qscrow_jobs{{step="{step}"}}'] == 0 for step in Step)
    assert found['qscrow_transactions_total{event="bumped"}'] == 0
    assert found['qscrow_declined_total{reason="other"}'] == 0
    assert found["qscrow_internal_errors_total"] == 0
    assert any(name.startswith("qscrow_build_info") and f'version="{__version__}"' in name for name in found)
    assert not any("_created" in name for name in found)


def test_metrics__each_call__changes_its_series(metrics):
    metrics.jobs({"seen": 2, "closed": 5})
    metrics.step_done(Step.RAN)
    metrics.step_took("accepted", 0.02)
    metrics.declined("too_little_time")
    metrics.waiting({"node_full": 3, "moonlight": 4})
    metrics.at_work(6)
    metrics.internal_error()
    metrics.ticked(0.1, 1_700_000_000.0)
    metrics.at(head=100, target=90, last=80)
    metrics.rpc_error("unavailable")
    metrics.transaction("bumped", 2)
    metrics.in_flight(3)
    metrics.funds(balance=10**18, low_balance=10**16, free_stake=2 * 10**18, locked_stake=0, credit=5 * 10**17)
    metrics.disk(20)
    metrics.verdict(healthy=True, ready=False, halted=False)

    found = series(metrics)
    expected = {
        'qscrow_jobs{step="seen"}': 2,
        'qscrow_jobs{step="closed"}': 5,
        'qscrow_steps_total{step="ran"}': 1,
        'qscrow_step_seconds_count{step="accepted"}': 1,
        'qscrow_declined_total{reason="too_little_time"}': 1,
        'qscrow_jobs_waiting{reason="node_full"}': 3,
        'qscrow_jobs_waiting{reason="other"}': 4,
        "qscrow_jobs_in_flight": 6,
        "qscrow_internal_errors_total": 1,
        "qscrow_last_tick_timestamp_seconds": 1_700_000_000,
        "qscrow_head_block": 100,
        "qscrow_ingested_block": 80,
        "qscrow_behind_blocks": 10,
        'qscrow_rpc_errors_total{kind="unavailable"}': 1,
        'qscrow_transactions_total{event="bumped"}': 2,
        "qscrow_transactions_in_flight": 3,
        "qscrow_balance_ether": 1,
        "qscrow_low_balance_ether": 0.01,
        "qscrow_free_stake_ether": 2,
        "qscrow_credit_ether": 0.5,
        "qscrow_disk_free_bytes": 20,
        "qscrow_healthy": 1,
        "qscrow_ready": 0,
    }
    assert {name: found[name] for name in expected} == expected


def test_jobs__step_that_emptied__is_zero_again(metrics):
    metrics.jobs({"seen": 2})
    metrics.jobs({})

    assert series(metrics)['qscrow_jobs{step="seen"}'] == 0


@given(st.lists(st.text(max_size=40), max_size=300))
def test_declined__reasons_a_circuit_made_up__are_a_bounded_number_of_series(reasons):
    metrics = Metrics()
    for number, reason in enumerate(reasons):
        metrics.declined(reason)
        metrics.declined(f"made_up_{number}")

    found = {name: value for name, value in series(metrics).items() if name.startswith("qscrow_declined_total")}
    assert len(found) <= MAX_REASONS + 1
    assert sum(found.values()) == 2 * len(reasons)


def test_endpoints__names__show_no_credentials_and_stay_apart(metrics):
    metrics.endpoints(
        [
            EndpointHealth("https://node.example", "ok", 0, "", 100, 0.2),
            EndpointHealth("https://node.example", "failing", 3, "HTTP 500", None, None),
        ]
    )

    found = series(metrics)
    assert found['qscrow_endpoint_up{endpoint="1 https://node.example"}'] == 1
    assert found['qscrow_endpoint_up{endpoint="2 https://node.example"}'] == 0
    assert found['qscrow_endpoint_failures{endpoint="2 https://node.example"}'] == 3
    assert found['qscrow_endpoint_head_block{endpoint="1 https://node.example"}'] == 100


def test_sample_with__each_exposition__asks_again(metrics):
    numbers = iter([1, 2])
    metrics.sample_with(lambda: metrics.at_work(next(numbers)))

    assert series(metrics)["qscrow_jobs_in_flight"] == 1
    assert series(metrics)["qscrow_jobs_in_flight"] == 2


def test_metrics__two_nodes_in_one_process__do_not_share_anything(metrics):
    other = Metrics()
    metrics.internal_error()

    assert series(other)["qscrow_internal_errors_total"] == 0


def test_page__for_prometheus__has_its_content_type(metrics):
    status, kind, body = metrics.page()

    assert status == 200
    assert kind.startswith("text/plain")
    assert b"# TYPE qscrow_jobs gauge" in body


def test_unmeasured__takes_the_calls_metrics_takes_and_no_others():
    nothing = Unmeasured()

    assert nothing.declined("x") is None
    assert nothing.funds(balance=1) is None
    with pytest.raises(AttributeError):
        nothing.launch_missiles()


def test_watch__without_a_port__does_not_import_prometheus():
    code = (
        "import json, sys\nfrom oracle.node.config import NodeConfig\nfrom oracle.node.watch import Watch\n"
        "watch = Watch(NodeConfig())\nwatch.looked(0.1, head=1, target=1, last=1)\n"
        "with watch.serving() as url: assert url is None\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('prometheus')]))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=True
    )

    assert json.loads(ran.stdout) == []
