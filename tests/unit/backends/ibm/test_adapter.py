"""Runs at a provider, from the request to the result, over HTTP to the box."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress

import pytest

from oracle.backends.base import BackendStatus
from oracle.backends.ibm.adapter import least_busy
from oracle.backends.ibm.box import CANCEL, DONE_BUT_500, FAIL, HANG, HOLD, OVERRUN
from oracle.backends.ibm.calibration import success
from oracle.backends.ibm.notes import KeptResults, Notes
from oracle.backends.ibm.result import STAND_IN
from oracle.backends.ibm.select import IbmProvider
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError, JournalError

TIMEOUT = 60
GHZ = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg c[3]; h q[0]; cx q[0],q[1]; cx q[0],q[2]; measure q -> c;'


def request_for(source=GHZ, *, format="openqasm2", shots=500, seed=7, limits=None, **more):
    return RunRequest(source, format, shots, seed, limits or CircuitLimits(), **more)


@pytest.fixture(scope="module")
def hasty(open_account, open_backend, folder):
    """A backend whose link is given little time."""
    return open_backend(open_account(call_seconds=5.0), folder)


def jobs_of(box, tag):
    return [job for job in box.jobs.values() if tag in job.tags]


# ------------------------------------------------------------------------------------------------- results


def test_result__ghz_on_a_noisy_device__has_counts_and_what_the_provider_says(backend, box, tag):
    reference = backend.submit(request_for(), tag)
    result = backend.result(reference, TIMEOUT)

    assert sum(result.counts.values()) == result.shots == 500
    assert 0.7 < (result.counts["000"] + result.counts["111"]) / 500 < 1
    assert (result.qubits, result.clbits, result.depth, result.seed) == (3, 3, 4, 7)
    assert result.operations == {"h": 1, "cx": 2, "measure": 3}
    assert result.engine == STAND_IN  # nothing from elsewhere than IBM claims to be hardware
    provider = result.provider
    assert (provider["backend"], provider["job_id"], provider["attempts"]) == ("box_manila", reference, 1)
    assert provider["endpoint"] == box.url.removeprefix("http://")
    assert provider["metrics"]["charged_seconds"] == pytest.approx(provider["estimated_seconds"], rel=0.05)
    assert provider["isa"][0]["operations"]["cx"] == 2
    assert set(result.seconds) == {"load", "transpile", "queue", "run"}


def test_result__calibration__is_the_medians_of_what_the_circuit_uses(backend, box, tag):
    result = backend.result(backend.submit(request_for(), tag), TIMEOUT)

    used = result.provider["isa"][0]
    properties = box.properties("box_manila")
    errors = sorted(
        entry["value"]
        for qubit in used["measured"]
        for entry in properties["qubits"][qubit]
        if entry["name"] == "readout_error"
    )
    found = result.provider["calibration"]
    assert found["used"]["readout_error"] == pytest.approx(errors[1])
    assert found["at"][:19] == properties["last_update_date"][:19]  # the client takes every time for UTC
    assert 1e-4 < found["device"]["single_qubit_error"] < found["device"]["two_qubit_error"] < 0.05
    assert 1e-5 < found["device"]["t1"] < 1e-3


def test_submit__job_at_the_provider__carries_tag_and_time_limit(backend, box, tag):
    backend.submit(request_for(), tag)

    (job,) = jobs_of(box, tag)
    assert job.tags == ["qscrow", tag]
    assert job.body["cost"] == 60
    assert "private" not in job.body


def test_result__feed_forward_and_several_registers__are_in_order(backend, tag):
    source = b"""OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit d; bit[3] c;
    x q[0]; d = measure q[0]; if (d == true) { x q[1]; } c = measure q;"""
    result = backend.result(backend.submit(request_for(source, format="openqasm3"), tag), TIMEOUT)

    assert max(result.counts, key=result.counts.get) == "0111"  # c = 011, d = 1
    assert result.operations["if_else"] == 1


def test_result__memory__has_every_shot(backend, tag):
    result = backend.result(backend.submit(request_for(shots=50, result="memory"), tag), TIMEOUT)

    (run,) = result.runs
    assert len(run["memory"]) == 50
    assert run["memory"].count("000") == result.counts["000"]


def test_result__expectation_values__come_from_one_circuit_per_basis(backend, box, tag):
    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0],q[1];'
    observables = ((("ZZ", 1.0), ("XX", 0.5)), (("YY", 1.0),))
    request = request_for(source, result="expectation", observables=observables)
    result = backend.result(backend.submit(request, tag), TIMEOUT)

    (run,) = result.runs
    assert run["values"][0] == pytest.approx(1.5, abs=0.3)
    assert run["values"][1] == pytest.approx(-1.0, abs=0.25)
    assert {each["basis"] for each in run["bases"]} == {"ZZ", "XX", "YY"}
    assert len(jobs_of(box, tag)) == 1


def test_result__several_circuits__are_one_job(backend, box, tag):
    circuits = [
        {"wires": 2, "instructions": [["x", [0], []], ["measure", [0], [0]], ["measure", [1], [1]]]},
        {"wires": 1, "instructions": [["ry", [0], ["a"]], ["measure", [0], [0]]], "parameters": ["a"]},
    ]
    pubs = [{"circuit": 0}, {"circuit": 1, "parameters": [[0.0], [3.141592653589793]]}]
    document = json.dumps({"circuits": circuits, "pubs": pubs}).encode()
    result = backend.result(backend.submit(request_for(document, format="qscrow-json"), tag), TIMEOUT)

    assert [(run["pub"], run["set"]) for run in result.runs] == [(0, 0), (1, 0), (1, 1)]
    assert [max(run["counts"], key=run["counts"].get) for run in result.runs] == ["01", "0", "1"]
    assert len(jobs_of(box, tag)) == 1


# ------------------------------------------------------------------------------ paying once, whatever happens


def test_submit__same_tag_again__is_the_same_job(backend, box, tag):
    first = backend.submit(request_for(), tag)

    assert backend.submit(request_for(), tag) == first
    assert len(jobs_of(box, tag)) == 1


def test_reconcile__node_and_link_gone__finds_the_job_and_its_result(
    backend, box, tag, folder, open_account, open_backend
):
    reference = backend.submit(request_for(), tag)

    restarted = open_backend(open_account(), folder)
    assert restarted.reconcile(tag) == reference
    result = restarted.result(reference, TIMEOUT)

    assert (result.depth, result.shots, sum(result.counts.values())) == (4, 500, 500)
    assert result == backend.result(reference, TIMEOUT)
    assert len(jobs_of(box, tag)) == 1


def test_submit__note_lost__finds_the_job_and_says_it_was_compiled_again(backend, box, tag, folder):
    reference = backend.submit(request_for(), tag)
    Notes(folder).forget(tag)

    assert backend.reconcile(tag) is None
    assert backend.submit(request_for(), tag) == reference
    assert backend.result(reference, TIMEOUT).provider["recompiled"]
    assert len(jobs_of(box, tag)) == 1


def test_reconcile__damaged_note__says_so(backend, tag, folder):
    before = set(folder.iterdir())
    backend.submit(request_for(), tag)
    (note,) = set(folder.iterdir()) - before
    note.write_text("{}")

    with pytest.raises(JournalError, match="is damaged"):
        backend.reconcile(tag)


def test_submit__taken_but_answered_with_an_error__leaves_one_live_job(backend, box, tag):
    box.queue_seconds = 0.5
    box.inject("POST /jobs", DONE_BUT_500)

    reference = backend.submit(request_for(), tag)

    jobs = jobs_of(box, tag)
    assert len(jobs) == 2  # the client repeats a POST after a 500
    assert [job.number for job in jobs if job.status != "Cancelled"] == [reference]
    assert backend.result(reference, TIMEOUT).shots == 500


def test_submit__taken_but_never_answered__is_found_by_its_tag(box, tag, hasty):
    hasty.capabilities()
    box.inject("POST /jobs", HANG)

    reference = hasty.submit(request_for(), tag)

    assert [job.number for job in jobs_of(box, tag)] == [reference]


def test_submit__same_tag_on_another_backend__is_not_submitted_there(account, backend, box, tag, folder, open_backend):
    box.doom(HOLD)
    reference = backend.submit(request_for(), tag)
    other = open_backend(account, folder, "box_guadalupe")

    with pytest.raises(BackendUnavailable, match=f"submitted to box_manila already, as {reference}"):
        other.submit(request_for(), tag)

    assert other.reconcile(tag) is None
    provider = IbmProvider(account, [other, backend], Notes(folder), KeptResults(folder))
    assert provider.reconcile(tag) == (backend, reference)
    assert provider.holder(tag) is backend
    assert len(jobs_of(box, tag)) == 1


def test_result__both_helpers_killed_meanwhile__is_the_same(account, backend, box, tag):
    reference = backend.submit(request_for(), tag)
    before = backend.result(reference, TIMEOUT)
    for process in (account.process, backend._known.compiler.process):
        os.kill(process.pid, signal.SIGKILL)

    with suppress(BackendUnavailable):  # whoever asked at that moment hears of it
        backend.status(reference)
    assert backend.result(reference, TIMEOUT) == before
    with suppress(BackendUnavailable):
        backend.submit(request_for(), tag + "0")
    assert backend.submit(request_for(), tag + "0") in box.jobs


def test_submit__rate_limit__is_transient_and_submits_nothing(backend, box, tag):
    box.inject("POST /jobs", 429)

    with pytest.raises(BackendUnavailable, match="429"):
        backend.submit(request_for(), tag)

    assert jobs_of(box, tag) == []
    assert backend.submit(request_for(), tag)


def test_submit__server_errors_that_pass__are_sat_out(backend, box, tag):
    box.inject("POST /jobs", 503)
    box.inject("GET /jobs", 502)

    assert backend.result(backend.submit(request_for(), tag), TIMEOUT).shots == 500


def test_submit__allowance_used_up__is_transient(backend, box, tag):
    box.inject("POST /jobs", 409)

    with pytest.raises(BackendUnavailable, match="409"):
        backend.submit(request_for(), tag)


def test_submit__refused_for_its_content__is_the_circuits_fault(backend, box, tag):
    box.inject("POST /jobs", 400)

    with pytest.raises(CircuitRejected) as caught:
        backend.submit(request_for(), tag)

    assert caught.value.code == "provider_refused"


def test_reconcile__token_refused_while_running__is_transient_and_has_it_read_anew(account, box, tag, backend):
    backend.submit(request_for(), tag)
    link = account.process.pid
    box.inject("GET /jobs", 401)

    with pytest.raises(BackendUnavailable, match="401"):
        backend.reconcile(tag)

    assert backend.reconcile(tag)
    assert account.process.pid != link


# ------------------------------------------------------------------------------------------------- failures


def test_result__failed_by_the_provider__is_tried_again_and_then_given_up(backend, box, tag):
    box.doom(FAIL, FAIL)

    for attempt in (1, 2):
        reference = backend.submit(request_for(), tag)
        with pytest.raises(BackendUnavailable, match="lost synchronisation"):
            backend.result(reference, TIMEOUT)
        assert backend.status(reference) == BackendStatus.FAILED
        assert len(jobs_of(box, tag)) == attempt
        assert backend.reconcile(tag) is None

    with pytest.raises(CircuitRejected) as caught:
        backend.submit(request_for(), tag)
    assert caught.value.code == "provider_failed"
    assert len(jobs_of(box, tag)) == 2


def test_result__second_attempt_succeeds__says_so(backend, box, tag):
    box.doom(FAIL)
    with pytest.raises(BackendUnavailable):
        backend.result(backend.submit(request_for(), tag), TIMEOUT)

    assert backend.result(backend.submit(request_for(), tag), TIMEOUT).provider["attempts"] == 2


def test_result__stopped_at_its_time_limit__is_not_tried_again(backend, box, tag):
    box.doom(OVERRUN)
    reference = backend.submit(request_for(), tag)

    with pytest.raises(CircuitRejected) as caught:
        backend.result(reference, TIMEOUT)

    assert caught.value.code == "hardware_time_limit"
    assert backend.submit(request_for(), tag) == backend.reconcile(tag) == reference
    assert len(jobs_of(box, tag)) == 1


def test_result__cancelled_by_the_provider__times_out_and_may_be_submitted_again(backend, box, tag):
    box.doom(CANCEL)
    reference = backend.submit(request_for(), tag)

    with pytest.raises(TimeoutError, match="cancelled"):
        backend.result(reference, TIMEOUT)

    assert backend.reconcile(tag) is None
    assert backend.submit(request_for(), tag) != reference


def test_cancel__queued_job__is_cancelled(backend, box, tag):
    box.doom(HOLD)
    reference = backend.submit(request_for(), tag)
    assert backend.status(reference) == BackendStatus.QUEUED

    backend.cancel(reference)

    assert backend.status(reference) == BackendStatus.CANCELLED


def test_cancel__finished_job__changes_nothing(backend, tag):
    reference = backend.submit(request_for(), tag)
    backend.result(reference, TIMEOUT)

    backend.cancel(reference)

    assert backend.status(reference) == BackendStatus.DONE


def test_result__never_comes__times_out(backend, box, tag):
    box.doom(HOLD)
    reference = backend.submit(request_for(), tag)

    with pytest.raises(TimeoutError, match="queued"):
        backend.result(reference, 0.1)


def test_result__connection_that_hangs__ends_with_the_call(box, tag, backend, hasty):
    reference = backend.submit(request_for(), tag)
    backend.result(reference, TIMEOUT)
    hasty.status(reference)
    box.inject("GET /jobs/*/results", HANG)

    with pytest.raises(BackendUnavailable, match="no answer within 5 s"):
        hasty.result(reference, TIMEOUT)

    assert hasty.result(reference, TIMEOUT).shots == 500


def test_status__unknown_reference__is_an_input_error(backend):
    for call in (backend.status, backend.cancel, backend.result):
        with pytest.raises(InputError):
            call("nothing")


def test_result__counts_that_are_none__are_refused(backend, box, tag):
    reference = backend.submit(request_for(), tag)
    backend.result(reference, TIMEOUT)
    other = backend.submit(request_for(shots=400), tag + "0")
    backend.result(other, TIMEOUT)
    box.jobs[reference].result = box.jobs[other].result

    with pytest.raises(BackendUnavailable, match="cannot be used"):
        backend.result(reference, TIMEOUT)


# ------------------------------------------------------------------------------------------ before it costs

BOMB = "\n".join(f"gate g{n + 1} a {{ g{n} a; g{n} a; }}" for n in range(40))
REFUSED = {
    "bomb": (f'OPENQASM 2.0; include "qelib1.inc"; gate g0 a {{ x a; }} {BOMB} qreg q[1]; g40 q[0];', {}, None),
    "syntax": ("OPENQASM 2.0; hello", {}, None),
    "file": ('OPENQASM 2.0; include "/etc/passwd";', {}, None),
    "wide": (
        'OPENQASM 2.0; include "qelib1.inc"; qreg q[6]; creg c[6]; measure q -> c;',
        {},
        "too_many_qubits",
    ),
    "shots": (GHZ.decode(), {"shots": 200_000}, "too_many_shots"),
    "outcomes": (GHZ.decode(), {"limits": CircuitLimits(outcomes=7)}, "too_many_outcomes"),
    "output": (GHZ.decode(), {"result": "memory", "limits": CircuitLimits(output_bytes=7_000)}, "output_limit"),
    "values": (
        GHZ.decode(),
        {
            "result": "expectation",
            "observables": ((("ZZZ", 1.0),),) * 900,
            "limits": CircuitLimits(output_bytes=80_000),
        },
        "output_limit",
    ),
}


@pytest.mark.parametrize(("source", "changes", "code"), REFUSED.values(), ids=REFUSED)
def test_submit__circuit_that_cannot_run__is_refused_before_anything_is_posted(
    backend, box, tag, folder, source, changes, code
):
    notes = set(folder.iterdir())
    with pytest.raises(CircuitRejected) as caught:
        backend.submit(request_for(source.encode(), **changes), tag)

    assert code in (None, caught.value.code)
    assert jobs_of(box, tag) == []
    assert set(folder.iterdir()) == notes


def test_submit__longer_than_the_time_limit__is_refused(backend, box, tag):
    circuit = {"wires": 1, "instructions": [["x", [0], []], ["measure", [0], [0]]]}
    document = json.dumps({"circuits": [circuit] * 3}).encode()

    with pytest.raises(CircuitRejected) as caught:
        backend.submit(request_for(document, format="qscrow-json", shots=90_000), tag)

    assert caught.value.code == "too_much_hardware_time"
    assert jobs_of(box, tag) == []


# ------------------------------------------------------------------------------------------------ private


def test_private__without_a_keeper__is_refused(account, tmp_path, open_backend):
    with pytest.raises(InputError, match="only once"):
        open_backend(account, tmp_path, private=True)


def test_private__result_read_before_a_crash__is_still_there(account, box, tag, tmp_path, open_backend):
    kept = KeptResults(tmp_path / "kept")
    options = {"private": True, "keeper": kept}
    backend = open_backend(account, tmp_path / "notes", **options)
    reference = backend.submit(request_for(), tag)
    first = backend.result(reference, TIMEOUT)
    (job,) = jobs_of(box, tag)
    assert job.body["private"] and job.result is None  # the provider has deleted it

    again = open_backend(account, tmp_path / "notes", **options).result(reference, TIMEOUT)

    assert again == first
    assert first.provider["private"]


# ------------------------------------------------------------------------------------- predictions


GHZ = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; creg c[4]; h q[0]; cx q[0],q[1]; cx q[1],q[2]; cx q[2],q[3];'


@pytest.mark.parametrize(
    ("source", "ideal"),
    [
        (GHZ + b" measure q -> c;", {"0000": 0.5, "1111": 0.5}),
        (GHZ.replace(b"h q[0];", b"x q[0];") + b" measure q -> c;", {"1111": 1.0}),
    ],
)
def test_predicted_distance__of_a_device__bounds_what_it_does(backend, tag, source, ideal):
    """The box's noise is made from the same calibration, with decoherence besides."""
    request = RunRequest(source, "openqasm2", 4_000, 1, CircuitLimits())
    run = backend.result(backend.submit(request, tag), TIMEOUT)
    shares = {key: count / run.shots for key, count in run.counts.items()}
    distance = sum(abs(shares.get(key, 0) - ideal.get(key, 0)) for key in shares.keys() | ideal.keys()) / 2

    predicted = backend.predicted_distance(request)

    assert 0.4 * predicted < distance < predicted + 0.03
    assert backend.predicted_distance(request) == predicted


def test_success__errors_of_every_step__are_multiplied():
    properties = {
        "qubits": [[{"name": "readout_error", "value": 0.1}], [{"name": "readout_error", "value": 0.2}]],
        "gates": [
            {"gate": "cx", "qubits": [0, 1], "parameters": [{"name": "gate_error", "value": 0.5}]},
            {"gate": "sx", "qubits": [0], "parameters": [{"name": "gate_error", "value": 0.0}]},
        ],
    }
    steps = [
        ["sx", [], [0], []],
        ["cx", [], [1, 0], []],  # published for the other direction
        ["rz", [0.1], [0], []],
        ["barrier", [], [0, 1], []],
        ["measure", [], [0], [0]],
        ["measure", [], [1], [1]],
    ]

    assert success(properties, steps) == pytest.approx(0.5 * 0.9 * 0.8)


# ------------------------------------------------------------------------------------- queues and counters


def test_least_busy__shorter_queue__comes_first_and_all_have_reasons(account, box, tmp_path, open_backend):
    box.waiting.update(box_manila=4, box_guadalupe=1)
    manila, guadalupe = (open_backend(account, tmp_path, name) for name in ("box_manila", "box_guadalupe"))

    ranking = least_busy([manila, guadalupe], qubits=3)

    assert [each.name for each in ranking.order] == ["box_guadalupe", "box_manila"]
    assert ranking.reasons["box_guadalupe"] == "the shortest queue: 1 jobs, about 30 s"
    assert "box_guadalupe has a shorter queue" in ranking.reasons["box_manila"]
    assert manila.backlog().queued == 4
    assert manila.estimate(request_for(), 3).seconds == pytest.approx(122, abs=2)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"qubits": 6}, "it has 5"),
        ({"qubits": 3, "shots": 100_001}, "it takes 100000"),
        ({"qubits": 3, "allowed": ["ibm_fez"]}, "not among the allowed"),
        ({"qubits": 3, "max_queue_seconds": 100}, "120 s of queue"),
    ],
)
def test_least_busy__constraint_not_met__is_said(account, box, tmp_path, open_backend, asked, reason):
    box.waiting["box_manila"] = 4

    ranking = least_busy([open_backend(account, tmp_path)], **asked)

    assert ranking.order == []
    assert reason in ranking.reasons["box_manila"]


def test_least_busy__backend_in_maintenance__is_not_eligible(account, box, tmp_path, open_backend):
    box.offline.add("box_manila")

    ranking = least_busy([open_backend(account, tmp_path)], qubits=3)

    assert ranking.reasons["box_manila"] == "it is not running jobs now (maintenance)"


def test_description__device_and_queue__is_what_a_router_wants(account, box, tmp_path, open_backend):
    box.waiting["box_manila"] = 2

    described = open_backend(account, tmp_path).description(price=5)

    assert described.pop("two_qubit_error") == pytest.approx(0.01, rel=0.2)
    assert described == {
        "name": "box_manila",
        "qubits": 5,
        "basis": ["cx", "id", "rz", "sx", "x"],
        "queue_seconds": 60.0,
        "open": True,
        "price": 5,
        "dynamic": True,
    }


def test_use__jobs_since__are_counted_by_backend(account, backend, tag):
    began = time.time()
    backend.result(backend.submit(request_for(), tag), TIMEOUT)

    use = account.use(began)

    assert (use.runs, use.total) == ({"box_manila": 1}, 1)
    assert use.consumed_seconds > 2
    assert use.remaining_seconds == pytest.approx(600 - use.consumed_seconds)
    assert account.use(time.time() + 60).total == 0
