from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest

from oracle.chain.history import JobHistory, fetch_job
from oracle.content.store import BlockStore, put_object
from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import ContentError, ContentNotFound, InputError, SealError
from oracle.jobs.states import State
from oracle.requester.draft import load_draft, write_example
from oracle.requester.results import open_result
from oracle.requester.submit import Parties, prepare, submit
from oracle.sealing.capsules import Recipient
from oracle.sealing.context import SealContext
from oracle.sealing.keys import SealingKey
from oracle.sealing.sealed import commit, seal

CHARGE = 3000
COUNTS = {"00000": 500, "11111": 524}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def store(place) -> BlockStore:
    return BlockStore(place / "content")


@pytest.fixture(scope="module")
def order(world, place, store):
    """Submits a job; answers its history and the spec it was ordered with."""
    write_example(place / "job.yaml", "ghz")
    draft, oracle = load_draft(place / "job.yaml"), Parties(oracle=world.oracle.address)

    def run():
        me = world.requester.address
        ready = prepare(draft, oracle, chain=world.chain, requester=me, key=world.key)
        done = submit(ready, chain=world.chain, store=store, sender=world.requester)
        return fetch_job(world.chain, done.job_id), ready.spec

    return run


@pytest.fixture(scope="module")
def ordered(order):
    """A job whose history the tests dress up; on chain it never gets a result."""
    return order()


def document(world, job, spec, **changes) -> dict[str, Any]:
    result = {
        "version": 1,
        "job": {
            "chain_id": str(world.chain.chain_id),
            "contract": world.chain.deployment.job_escrow.lower(),
            "job_id": str(job.job_id),
            "spec": "0x" + job.terms.spec.hex(),
        },
        "spec": spec,
        "counts": COUNTS,
        "shots": 1024,
        "seed": 7,
        "charge": str(CHARGE),
        "salt": secrets.token_hex(32),
        "something_new": [1, 2],
    }
    return {key: value for key, value in {**result, **changes}.items() if value is not None}


def context_of(world, job) -> SealContext:
    return SealContext.for_result(
        chain_id=world.chain.chain_id,
        contract=world.chain.deployment.job_escrow,
        job_id=job.job_id,
        spec=job.terms.spec,
        party=job.terms.requester,
    )


def sealed(world, store, job, result: dict | bytes, *, context=None, receipt=None) -> bytes:
    """Seal and pin as an oracle does; the digest to deliver."""
    plain = result if isinstance(result, bytes) else canonical_bytes(result)
    if receipt is None and isinstance(result, dict):
        unsalted = {key: value for key, value in result.items() if key != "salt"}
        salt = bytes.fromhex(result["salt"]) if len(result["salt"]) == 64 else bytes(32)
        receipt = {"commitment": "0x" + commit(salt, canonical_bytes(unsalted)).hex(), "engine": "test"}
    reader = Recipient("nacl", job.terms.seal_to)
    return put_object(store, seal(plain, context or context_of(world, job), [reader], receipt=receipt))


def with_result(job, result: bytes) -> JobHistory:
    """The history as it were had the oracle delivered ``result``."""
    return replace(job, state=State.SETTLED, result=result, charge=CHARGE)


def opened(world, store, job, key=None):
    return open_result(job, chain=world.chain, store=store, key=key or world.key)


def test_open_result__honest_delivery__shows_everything_sealed(world, store, order):
    job, spec = order()
    result = document(world, job, spec)
    digest_on_chain = sealed(world, store, job, result)
    world.oracle.send(world.chain.escrow.deliver(job.job_id, job.terms, CHARGE, digest_on_chain))

    got = opened(world, store, fetch_job(world.chain, job.job_id))

    assert (got.job_id, got.counts, got.document) == (job.job_id, COUNTS, result)
    assert got.receipt["engine"] == "test"


def test_open_result__document_without_job_and_spec__is_still_checked_against_the_chain(world, store, ordered):
    job, _ = ordered
    bare = document(world, job, None)
    del bare["job"]

    got = opened(world, store, with_result(job, sealed(world, store, job, bare)))

    assert got.counts == COUNTS


def test_open_result__nothing_delivered__says_so(world, store, ordered):
    with pytest.raises(InputError, match="is Created and has no result"):
        opened(world, store, ordered[0])


def test_open_result__another_accounts_key__says_so(world, store, ordered):
    job, spec = ordered
    job = with_result(job, sealed(world, store, job, document(world, job, spec)))

    with pytest.raises(SealError, match="not submitted with this account's sealing key"):
        opened(world, store, job, SealingKey.from_bytes(b"x" * 32))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version": 2}, "version"),
        ({"counts": {}}, "counts"),
        ({"counts": [1024]}, "counts"),
        ({"counts": {"00000": 1023}}, "counts"),
        ({"counts": {"00000": 1025, "1": -1}}, "counts"),
        ({"counts": {"\x1b[2J": 1024}}, "counts"),
        ({"counts": {"00000": True}, "shots": 1}, "counts"),
        ({"counts": {"00000": 512}, "shots": 512}, "shots"),
        ({"seed": 8}, "seed"),
        ({"charge": "2999"}, "charge"),
        ({"salt": "zz"}, "salt"),
        ({"job": {"job_id": "999999"}}, "job.job_id"),
        ({"job": {"chain_id": "1"}}, "job.chain_id"),
        ({"job": "7"}, "job"),
        ({"spec": {"quantum": {"shots": 1024}}}, "spec"),
        ({"backend": "aer"}, "backend"),
        ({"backend": {"noise": {"one_qubit": 0.1, "two_qubit": 0, "readout": 0}}}, "backend.noise"),
        ({"artefacts": {"code": 5}}, "artefacts.code"),
        ({"artefacts": {}}, "receipt.artefacts"),
    ],
)
def test_open_result__oracle_writes_something_untrue__is_a_seal_error_naming_it(world, store, ordered, changes, field):
    job, spec = ordered
    job = with_result(job, sealed(world, store, job, {**document(world, job, spec), **changes}))

    with pytest.raises(SealError) as caught:
        opened(world, store, job)

    assert caught.value.field == field


@pytest.mark.parametrize("plain", [b"", b"null", b"[]", b"{", b'{"version": NaN}', b"\xff", b"[" * 5000], ids=range(7))
def test_open_result__sealed_rubbish__is_a_seal_error(world, store, ordered, plain):
    job = with_result(ordered[0], sealed(world, store, ordered[0], plain))

    with pytest.raises(SealError):
        opened(world, store, job)


def test_open_result__receipt_commits_to_something_else__is_refused(world, store, ordered):
    job, spec = ordered
    job = with_result(
        job, sealed(world, store, job, document(world, job, spec), receipt={"commitment": "0x" + "00" * 32})
    )

    with pytest.raises(SealError) as caught:
        opened(world, store, job)

    assert caught.value.field == "receipt.commitment"


def test_open_result__sealed_for_another_job_or_reader__does_not_open(world, store, ordered, draft):
    job, spec = ordered
    other = SealContext.for_result(
        chain_id=world.chain.chain_id,
        contract=world.chain.deployment.job_escrow,
        job_id=job.job_id + 1,
        spec=job.terms.spec,
        party=job.terms.requester,
    )
    job = with_result(job, sealed(world, store, job, document(world, job, spec), context=other))

    with pytest.raises(SealError, match="job"):
        opened(world, store, job)


def test_open_result__not_pinned_or_damaged__is_a_content_error(world, store, ordered):
    job, spec = ordered
    job = with_result(job, sealed(world, store, job, document(world, job, spec)))
    block = next(path for path in store.root.rglob("*.data") if digest(path.read_bytes()) == job.result)
    block.write_bytes(block.read_bytes()[:-1] + b"!")
    with pytest.raises(ContentError):
        opened(world, store, job)

    block.unlink()
    with pytest.raises(ContentNotFound):
        opened(world, store, job)


PLACE = {"pub": 0, "set": 0, "seed": 7, "method": "statevector", "transpiled_digest": "ab" * 32}
BASES = [{"basis": "ZZ", "counts": {"00": 500, "11": 524}}]
ESTIMATED = {**PLACE, "values": [0.25, -1], "standard_errors": [0.01, 0], "bases": BASES}
REMEMBERED = {**PLACE, "counts": {"0": 1, "1": 1023}, "memory": ["0"] + ["1"] * 1023}


def received(world, store, ordered, **fields):
    """What opens of a delivery with ``fields``."""
    job, spec = ordered
    return opened(world, store, with_result(job, sealed(world, store, job, document(world, job, spec, **fields))))


def test_lines__counts_of_one_circuit__have_none(world, store, ordered):
    assert list(received(world, store, ordered).lines()) == []


def test_lines__expectation_values__are_shown_with_their_errors(world, store, ordered):
    got = received(world, store, ordered, runs=[ESTIMATED, ESTIMATED])
    assert list(got.lines())[:2] == ["circuit 0, observable 0: 0.25 ± 0.01", "circuit 0, observable 1: -1 ± 0"]
    assert len(list(got.lines())) == 4


def test_lines__memory_of_nothing__is_passed_over(world, store, ordered):
    run = {**PLACE, "counts": {"1": 1024}, "memory": None}
    assert list(received(world, store, ordered, runs=[run]).lines()) == ["circuit 0, 1: 1024"]


def test_lines__a_thousand_shots__are_cut_and_said_to_be(world, store, ordered):
    lines = list(received(world, store, ordered, runs=[REMEMBERED]).lines())
    assert lines[:2] == ["circuit 0, shot 0: 0", "circuit 0, shot 1: 1"]
    assert lines[-1] == "and 984 lines more, which --json shows" and len(lines) == 41


def test_lines__several_circuits__lead_with_the_most_frequent(world, store, ordered):
    run = {**PLACE, "counts": {"0": 24, "1": 1000}}
    assert list(received(world, store, ordered, runs=[run]).lines()) == ["circuit 0, 1: 1000", "circuit 0, 0: 24"]


@pytest.mark.parametrize(
    "runs",
    [
        {},
        [1],
        [{**PLACE}],
        [{**PLACE, "counts": {"0": 1023}}],
        [{**PLACE, "counts": {"0\u202e": 1024}}],
        [{**REMEMBERED, "memory": ["1"] * 1024}],
        [{**REMEMBERED, "memory": [["1"]] * 1024}],
        [{**REMEMBERED, "memory": 5}],
        [{**ESTIMATED, "values": [0.25]}],
        [{**ESTIMATED, "values": ["0.25", "\x1b[2J"]}],
        [{**ESTIMATED, "standard_errors": None}],
        [{**ESTIMATED, "bases": [{"basis": "ZZ", "counts": {"00": 1}}]}],
        [{**ESTIMATED, "bases": 3}],
        [{**ESTIMATED, "memory": ["0"]}],
    ],
)
def test_open_result__runs_that_do_not_hold_together__are_refused(world, store, ordered, runs):
    with pytest.raises(SealError) as caught:
        received(world, store, ordered, runs=runs)
    assert caught.value.field.startswith("runs")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("kind", "runs", "good"),
    [
        ("memory", [REMEMBERED], True),
        ("memory", [], False),
        ("memory", [ESTIMATED], False),
        ("expectation", [ESTIMATED], True),
        ("expectation", [REMEMBERED], False),
        ("expectation", [ESTIMATED, REMEMBERED], False),
        ("counts", [], True),
    ],
)
def test_check_kind__result_of_another_kind_than_ordered__is_refused(kind, runs, good):
    from oracle.requester.results import _check_kind

    if good:
        return _check_kind({"runs": runs}, {"result": kind, "format": "qscrow-json"})
    with pytest.raises(SealError, match=kind):
        _check_kind({"runs": runs}, {"result": kind, "format": "qscrow-json"})


WITNESS = [[["ZZ", 1]], [["IZ", 2], ["II", 1]]]
COUNTED = [{"basis": "ZZ", "counts": {"00": 512, "11": 256, "01": 256}}]
HONEST = {"values": [0.5, 1.0], "standard_errors": [0.75**0.5 / 32, 2 / 32], "bases": COUNTED}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, None),
        ({"values": [0.5, 1.0000000001]}, None),
        ({"values": [0.5, 1.1]}, "runs.0.values"),
        ({"values": [0.5]}, "runs.0.values"),
        ({"standard_errors": [0.0, 0.0]}, "runs.0.standard_errors"),
        ({"values": []}, "runs.0.values"),
        ({"bases": []}, "runs.0.bases"),
        ({"bases": COUNTED * 2}, "runs.0.bases"),
        ({"bases": [{"basis": "ZI", "counts": {"0": 1024}}]}, "runs.0.bases"),
        ({"bases": [{"basis": "ZZ", "counts": {"0": 1024}}]}, "runs.0.bases"),
    ],
)
def test_check_kind__values_that_were_not_counted__are_found_out(changes, field):
    from oracle.requester.results import _check_kind

    quantum = {"result": "expectation", "format": "openqasm3", "observables": WITNESS}
    if field is None:
        return _check_kind({"runs": [{**HONEST, **changes}]}, quantum)
    with pytest.raises(SealError) as caught:
        _check_kind({"runs": [{**HONEST, **changes}]}, quantum)
    assert caught.value.field == field


def test_check_kind__values_of_more_circuits_than_openqasm_text_is__are_refused():
    from oracle.requester.results import _check_kind

    quantum = {"result": "expectation", "format": "openqasm3", "observables": WITNESS}
    with pytest.raises(SealError, match="OpenQASM text is one circuit, the result has 2"):
        _check_kind({"runs": [HONEST, HONEST]}, quantum)
