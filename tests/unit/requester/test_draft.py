from __future__ import annotations

import os
import re

import pytest
import yaml

from oracle.jobs.errors import CircuitRejected, InputError
from oracle.jobs.spec import DEFAULTS, parse_draft
from oracle.requester.draft import EXAMPLES, IN_JSON, example_files, load_draft, write_example
from oracle.requester.options import OPTIONS

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\nh q;\nmeasure q -> c;\n'
DRAFT = "quantum:\n  circuit: c.qasm\n  format: openqasm2\nbudget:\n  amount: 1 gwei\n"


def written(tmp_path, draft: str | bytes = DRAFT, circuit: str | bytes = QASM):
    for name, text in (("job.yaml", draft), ("c.qasm", circuit)):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / "job.yaml"


def test_load_draft__circuit_beside_it__is_read_and_linted(tmp_path):
    draft = load_draft(written(tmp_path))

    assert draft.circuit == QASM.encode()
    assert (draft.format, draft.lint.qubits, draft.lint.clbits) == ("openqasm2", 3, 3)


def test_load_draft__circuit_path__is_relative_to_the_draft(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    path = written(tmp_path / "jobs")
    monkeypatch.chdir(tmp_path)

    assert load_draft(path.relative_to(tmp_path)).circuit == QASM.encode()


def test_load_draft__no_budget__is_left_to_submitting(tmp_path):
    path = written(tmp_path, "quantum:\n  circuit: c.qasm\n  format: openqasm2\n")

    assert "budget" not in load_draft(path).fields


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ("", "spec"),
        ("- a list", "spec"),
        ("a: [", "spec"),
        (b"title: \xff\xfe", "spec"),
        ("title: x\ntitle: y\nquantum: {circuit: c.qasm}", "spec"),
        ("a: &a [1]\nb: *a\nquantum: {circuit: c.qasm}", "spec"),
        ("title: only", "quantum.circuit"),
        ("quantum: text", "quantum.circuit"),
        ("quantum: {circuit: 7}", "quantum.circuit"),
        ("quantum: {circuit: ''}", "quantum.circuit"),
        ("quantum: {circuit: absent.qasm}", "quantum.circuit"),
        ("quantum: {circuit: .}", "quantum.circuit"),
        ('quantum: {circuit: "a\\0b"}', "quantum.circuit"),
        (DRAFT + "budgit: 5", "budgit"),
        (DRAFT + "timeouts: {accept_secs: 5}", "timeouts.accept_secs"),
        (DRAFT + "timeouts: 5", "timeouts"),
        (DRAFT + "timeouts: {accept_seconds: -5}", "timeouts.accept_seconds"),
        (DRAFT + "timeouts: {deliver_seconds: 1e300}", "timeouts.deliver_seconds"),
        (DRAFT.replace("gwei", "bananas"), "budget.amount"),
        (DRAFT.replace("1 gwei", "-1 gwei"), "budget.amount"),
        (DRAFT.replace("1 gwei", "1e9"), "budget.amount"),
        (DRAFT.replace("1 gwei", "99999999999999999999999999999 ether"), "budget.amount"),
        (DRAFT.replace("1 gwei", "0"), "budget.amount"),
        (DRAFT.replace("openqasm2", "qpy"), "quantum.format"),
        (DRAFT.replace("budget:", "  shots: 0\nbudget:"), "quantum.shots"),
        (DRAFT.replace("budget:", "  shots: true\nbudget:"), "quantum.shots"),
        (DRAFT.replace("budget:", "  shots: 99999999999999999999\nbudget:"), "quantum.shots"),
        (DRAFT.replace("budget:", "  seed: -1\nbudget:"), "quantum.seed"),
        (DRAFT.replace("budget:", "  seed: .nan\nbudget:"), "quantum.seed"),
        (DRAFT.replace("budget:", "  noise: {readout: .nan}\nbudget:"), "quantum.noise.readout"),
        (
            DRAFT.replace("budget:", "  constraints: {allowed_backends: [aer, aer.statevectr]}\nbudget:"),
            "quantum.constraints.allowed_backends",
        ),
        (DRAFT + "settlement: {release_on: attestation}", "settlement.release_on"),
        (DRAFT + "job_type: miracle", "job_type"),
    ],
)
def test_load_draft__unusable_draft__names_the_field(tmp_path, draft, field):
    with pytest.raises(InputError) as caught:
        load_draft(written(tmp_path, draft))

    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "circuit",
    [
        b"",
        b"\x7fELF" + bytes(20),
        b"QISKIT" + bytes(50),
        'OPENQASM 2.0;\ninclude "/etc/passwd";\nqreg q[1];',
        "OPENQASM 3.0;\nqubit[1] q;",
        "é",
    ],
)
def test_load_draft__unusable_circuit__is_rejected(tmp_path, circuit):
    with pytest.raises(CircuitRejected) as caught:
        load_draft(written(tmp_path, circuit=circuit))

    assert caught.value.code
    assert "\n" not in str(caught.value)


def test_load_draft__wider_than_its_own_constraint__is_rejected(tmp_path):
    draft = DRAFT.replace("budget:", "  constraints: {max_qubits: 2}\nbudget:")

    with pytest.raises(CircuitRejected, match="has 3 qubits, the draft allows 2") as caught:
        load_draft(written(tmp_path, draft))

    assert caught.value.field == "quantum.constraints.max_qubits"


def test_load_draft__huge_files__are_refused_unread(tmp_path):
    path = written(tmp_path)
    with open(tmp_path / "c.qasm", "wb") as file:
        file.truncate(2**40)  # sparse: reading it whole would not end well
    with pytest.raises(InputError, match="more than the 1048576 bytes") as caught:
        load_draft(path)
    assert caught.value.field == "quantum.circuit"

    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than the 65536 bytes"):
        load_draft(path)


def test_load_draft__named_pipe_for_a_circuit__does_not_wait_for_a_writer(tmp_path):
    path = written(tmp_path)
    (tmp_path / "c.qasm").unlink()
    os.mkfifo(tmp_path / "c.qasm")

    with pytest.raises(InputError, match="not a plain file"):
        load_draft(path)


def test_load_draft__absent_or_a_folder__says_so(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_draft(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is not a plain file"):
        load_draft(tmp_path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_write_example__each__is_a_draft_that_loads(tmp_path, name):
    paths = write_example(tmp_path / "new" / "job.yaml", name)

    assert [path.name for path in paths] == ["job.yaml", f"{name}.{'json' if name in IN_JSON else 'qasm'}"]
    assert load_draft(paths[0]).lint.qubits > 1
    assert parse_draft(example_files(name)[f"{name}.yaml"].encode())["budget"]


def test_write_example__unknown_name__is_refused(tmp_path):
    with pytest.raises(InputError, match="choose from ghz"):
        write_example(tmp_path / "job.yaml", "teleport")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("existing", ["job.yaml", "ghz.qasm"])
def test_write_example__either_file_exists__nothing_is_written(tmp_path, existing):
    (tmp_path / existing).write_text("mine")

    with pytest.raises(InputError, match="exists already"):
        write_example(tmp_path / "job.yaml", "ghz")

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {existing: "mine"}


def test_write_example__draft_named_like_the_circuit__is_refused(tmp_path):
    with pytest.raises(InputError, match="another one"):
        write_example(tmp_path / "ghz.qasm", "ghz")

    assert list(tmp_path.iterdir()) == []


def test_options__without_the_comment_signs__are_the_defaults():
    text = "\n".join(line[1:] for line in OPTIONS.splitlines() if not re.match(r"# \S", line))

    shown = yaml.safe_load(text)

    assert shown == {key: value for key, value in DEFAULTS.items() if isinstance(value, dict)}
