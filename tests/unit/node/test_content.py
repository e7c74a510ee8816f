"""What a node keeps: never less than its live jobs need, and not everything for ever."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.chain.client import Block
from oracle.content.cid import CID, ipfs_uri
from oracle.content.mirrors import Mirrors
from oracle.content.remote import GatewayStore
from oracle.content.select import open_node_store
from oracle.content.store import BlockStore
from oracle.jobs.canonical import canonical_bytes
from oracle.jobs.errors import ContentUnavailable, InputError
from oracle.jobs.identity import did_pkh
from oracle.jobs.spec import normalise
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.config import NodeConfig
from oracle.node.content import Keeper, open_node_content, tended_content
from oracle.node.journal import Journal, News, Step
from oracle.requester.draft import load_draft, write_example

ORACLE, REQUESTER = "0x" + "22" * 20, "0x" + "33" * 20
IDENTITY = {"chain_id": 31337, "escrow": "0x" + "11" * 20, "oracle": ORACLE}
WEEK = 7 * 86_400.0
_BATCH = "oracle.content.store._BATCH"


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """What is in an example's draft."""
    path = tmp_path_factory.mktemp("draft") / "job.yaml"
    write_example(path, "ghz")
    return load_draft(path).fields


@dataclass
class Bench:
    """A journal, a store as a node with a gateway has it, and a keeper of both."""

    folder: Path
    journal: Journal
    fields: dict

    def __post_init__(self):
        self.store = open_node_store(self.folder / "content", {})
        self.keeper = Keeper(self.journal, self.store, NodeConfig(retention_seconds=0))

    def put(self, number: int, place: str = "uploads") -> tuple[CID, CID]:
        """Store spec and circuit of job ``number`` as strangers' content; answers both CIDs."""
        store = self.store.uploads if place == "uploads" else self.store.local
        circuit = store.put(b"circuit %d" % number, pin=False)
        spec = normalise(self.fields, requester=did_pkh(31337, REQUESTER), circuit=ipfs_uri(circuit.digest))
        return store.put(canonical_bytes(spec), pin=False), circuit

    def add(self, number: int, spec: CID) -> None:
        """A job for that spec is heard of."""
        nobody = (ZERO_ADDRESS,) * 3
        terms = Terms(REQUESTER, REQUESTER, ORACLE, *nobody, 10, 0, 5, 100, 200, 0, spec.digest, b"k" * 32)
        self.journal.add_job(number, terms, 3, b"h" * 32)

    def seal(self, number: int) -> CID:
        """The job gets its result, as the pipeline does it."""
        document = b"sealed %d" % number
        job = self.journal.advance(self.journal.job(number), Step.RAN, sealed=document)
        self.store.put(document)
        self.journal.advance(job, Step.SEALED)
        return CID.of(document)

    def close(self, number: int) -> None:
        """The job is over, and the chain says so."""
        self.journal.advance(self.journal.job(number), Step.CLOSED)
        block = Block(5, b"b" * 32, b"a" * 32, 50)
        self.journal.ingested(None, news=[News((b"t" * 32, block.hash, number), 5, number, ended=True)])

    def age(self, seconds: float = WEEK) -> None:
        """Make all that is stored look that old."""
        then = time.time() - seconds
        for path in self.folder.glob("content/**/*.data"):
            os.utime(path, (then, then))

    def here(self) -> set[str]:
        """The names of all blocks, wherever they are."""
        return {path.name for path in self.folder.glob("content/**/*.data")}


@contextmanager
def opened(folder, fields):
    with closing(Journal(folder / "journal.db", **IDENTITY)) as journal:
        yield Bench(folder, journal, fields)


@pytest.fixture
def bench(tmp_path, fields):
    with opened(tmp_path, fields) as made:
        yield made


@pytest.mark.parametrize("place", ["uploads", "local"])
def test_collect__live_job__keeps_spec_circuit_and_result_until_it_is_closed(bench, place):
    spec, circuit = bench.put(1, place)
    loose, _ = bench.put(2, place)
    bench.add(1, spec)
    result = bench.seal(1)
    bench.store.unpin(result)  # the journal alone has to know
    bench.age()

    bench.keeper.collect()

    assert all(bench.store.has(cid) for cid in (spec, circuit, result))
    assert not bench.store.has(loose)

    bench.close(1)
    bench.keeper.collect()
    assert bench.store.has(result)
    assert not bench.store.has(circuit)

    bench.journal.release([result])
    bench.keeper.collect()
    assert bench.here() == set()


def test_collect__spec_that_comes_after_the_job__is_read_the_next_time(bench):
    spec, circuit = bench.put(1)
    data = bench.store.get(spec, max_bytes=2**16)
    for store in (bench.store.local, bench.store.uploads):
        store._path(spec).unlink()
    bench.add(1, spec)
    with bench.keeper.needed() as needed:
        assert needed == {spec}

    bench.store.uploads.put(data, pin=False)

    with bench.keeper.needed() as needed:
        assert needed == {spec, circuit}


def test_needed__job_added_meanwhile__waits_until_the_blocks_are_gone(bench):
    spec, _ = bench.put(1)
    adding = threading.Thread(target=bench.add, args=(1, spec))

    with bench.keeper.needed() as needed:
        adding.start()
        adding.join(0.05)
        assert adding.is_alive() and not needed
    adding.join(20)

    with bench.keeper.needed() as needed:
        assert spec in needed


def test_collect__two_journals_in_one_folder__each_keeps_what_the_others_jobs_need(bench):
    """A node and a validator of one home share its store."""
    spec, circuit = bench.put(1)
    loose, _ = bench.put(2)
    with closing(Journal(bench.folder / "other.db", **{**IDENTITY, "oracle": "0x" + "44" * 20})) as other:
        theirs = replace(bench, journal=other)
        theirs.add(1, spec)
        result = theirs.seal(1)
        bench.store.unpin(result)
    bench.age()

    bench.keeper.collect()  # also what a process needs that is not running just now

    assert all(bench.store.has(cid) for cid in (spec, circuit, result))
    assert not bench.store.has(loose)


def test_needed__job_added_to_the_journal_beside__waits_until_the_blocks_are_gone(bench):
    spec, _ = bench.put(1)
    with closing(Journal(bench.folder / "other.db", **IDENTITY)) as other:
        adding = threading.Thread(target=replace(bench, journal=other).add, args=(1, spec))
        with bench.keeper.needed() as needed:
            adding.start()
            adding.join(0.05)
            assert adding.is_alive() and not needed
        adding.join(20)

        with bench.keeper.needed() as needed:
            assert spec in needed


def test_collect__journal_beside_that_is_damaged__drops_nothing_and_says_which(bench):
    loose, _ = bench.put(2)
    bench.age()
    (bench.folder / "other.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(ContentUnavailable, match="other.db.*nothing is dropped"):
        bench.keeper.collect()

    assert bench.store.has(loose)


@pytest.mark.parametrize("left", ["", (Path(__file__).parent / "journal_v1.sql").read_text()], ids=["empty", "first"])
def test_needed__journal_beside_of_an_earlier_version__is_asked_all_the_same(bench, left):
    with closing(sqlite3.connect(bench.folder / "other.db")) as db:
        db.executescript(left)

    with bench.keeper.needed() as needed:
        assert bool(needed) is bool(left)


ACTIONS = [(action, number) for action in ("add", "add", "seal", "close") for number in range(8)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 255), st.lists(st.sampled_from(ACTIONS), min_size=8, max_size=14))
def test_collect__whatever_happens_between_its_steps__never_takes_what_a_live_job_needs(fields, in_uploads, script):
    """A job comes, gets its result or ends before each block that goes; some share a circuit and a spec."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder), fields) as bench,
        pytest.MonkeyPatch.context() as m,
    ):
        m.setattr(_BATCH, 1)
        places = ["uploads" if in_uploads >> number & 1 else "local" for number in range(8)]
        contents = [bench.put(number % 6, place) for number, place in enumerate(places)]
        bench.age()
        live: dict[int, set[CID]] = {}
        steps = iter(script)

        def act(action: str, number: int) -> None:
            job = bench.journal.job(number)
            if action == "add" and job is None:
                bench.add(number, contents[number][0])
                spec_is_here = bench.store.has(contents[number][0])  # otherwise nobody knows the circuit
                live[number] = {cid for cid in contents[number] if spec_is_here and bench.store.has(cid)}
            elif action == "seal" and number in live and not job.sealed:
                live[number].add(bench.seal(number))
                bench.age()
            elif action == "close" and number in live:
                bench.close(number)
                del live[number]

        real = bench.keeper.needed

        @contextmanager
        def needed():
            for action, number in islice(steps, 1):
                act(action, number)
            with real() as cids:
                yield cids
            assert all(bench.store.has(cid) for cids in live.values() for cid in cids)

        m.setattr(bench.keeper, "needed", needed)
        for _ in range(3):
            bench.keeper.release()
            bench.keeper.collect()
        for number in list(live):
            act("close", number)
        bench.keeper.release()
        bench.keeper.collect()

        assert bench.here() == set()


def test_release__retention__begins_when_the_job_is_over(bench):
    patient = Keeper(bench.journal, bench.store, NodeConfig(retention_seconds=1000.0))
    spec, _ = bench.put(1)
    bench.add(1, spec)
    result = bench.seal(1)
    bench.close(1)
    profile = bench.store.put(b"pinned by somebody else")

    patient.release()
    assert set(bench.store.pins()) == {result, profile}

    bench.keeper.release()
    assert set(bench.store.pins()) == {profile}
    assert bench.journal.releasable(time.time() + 1) == []


def test_release__job_not_over__keeps_its_result_pinned(bench):
    spec, _ = bench.put(1)
    bench.add(1, spec)
    result = bench.seal(1)

    bench.keeper.release()

    assert list(bench.store.pins()) == [result]


# -------------------------------------------------------------------------------------------------- all of it


def wait_until(holds) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_tended_content__gateway_port_set__serves_takes_and_collects(bench):
    config = NodeConfig(gateway_port=free_port(), collect_seconds=0.01)
    with tended_content(bench.journal, bench.store, config) as url:
        client = GatewayStore(url)
        cid = client.put(b"a circuit")
        assert bench.store.uploads.has(cid)
        bench.age()
        wait_until(lambda: not bench.here())

    with pytest.raises(ContentUnavailable):
        client.has(cid)


def test_tended_content__no_port__collects_all_the_same(bench):
    bench.put(1, "local")
    bench.age()
    with tended_content(bench.journal, bench.store, NodeConfig(collect_seconds=0.01)) as url:
        assert url is None
        wait_until(lambda: not bench.here())


def test_tended_content__something_pinned_is_lost__complains_and_goes_on(bench):
    pinned = bench.store.put(b"x" * (2**20 + 1))
    bench.store.local._path(pinned).unlink()
    complaints: list[str] = []
    with tended_content(bench.journal, bench.store, NodeConfig(collect_seconds=0.01), complain=complaints.append):
        wait_until(lambda: len(complaints) >= 2)

    assert all(str(pinned) in complaint for complaint in complaints)


def test_tended_content__port_taken__says_so_and_leaves_nothing_running(bench):
    with tended_content(bench.journal, bench.store, NodeConfig(gateway_port=free_port())) as url:
        taken = NodeConfig(gateway_port=int(url.rpartition(":")[2]))
        before = threading.active_count()
        with (
            pytest.raises(InputError, match="cannot be listened on"),
            tended_content(bench.journal, bench.store, taken),
        ):
            pass
        assert threading.active_count() == before


def test_tended_content__left__ends_a_collection_at_its_next_step(bench):
    with tended_content(bench.journal, bench.store, NodeConfig()):
        pass
    keeper = Keeper(bench.journal, bench.store, NodeConfig())
    with keeper.tidying(pytest.fail):
        pass

    with pytest.raises(ContentUnavailable, match="stopping"), keeper.needed():
        pass


def test_tended_content__missed_uploads__are_made_good(bench, tmp_path):
    with tended_content(bench.journal, bench.store, NodeConfig(gateway_port=free_port())) as url:
        port = int(url.rpartition(":")[2])
    here = BlockStore(tmp_path / "here")
    now = [0.0]
    mirrors = Mirrors([GatewayStore(url)], tmp_path / "owed", source=here, clock=lambda: now[0])
    here.put(b"result")
    with pytest.raises(ContentUnavailable):
        mirrors.put(b"result")
    now[0] = 1_000.0

    with tended_content(bench.journal, bench.store, NodeConfig(gateway_port=port)):
        with tended_content(bench.journal, mirrors, NodeConfig(collect_seconds=0.01)):
            wait_until(lambda: not any(mirrors.owed().values()))
        assert bench.store.uploads.has(CID.of(b"result"))


def test_open_node_content__by_configuration__has_room_for_uploads_or_not(tmp_path):
    plain = open_node_content(tmp_path, {}, NodeConfig(content_max_bytes=2**20))
    serving = open_node_content(tmp_path, {}, NodeConfig(gateway_port=8080, upload_quota_bytes=7))

    assert isinstance(plain, BlockStore) and plain.max_bytes == 2**20
    assert serving.uploads.max_bytes == 7


def test_gateway__store_elsewhere__is_refused(bench, tmp_path):
    elsewhere = Mirrors([GatewayStore("http://127.0.0.1:9")], tmp_path)
    with (
        pytest.raises(InputError, match="embedded store"),
        tended_content(bench.journal, elsewhere, NodeConfig(gateway_port=free_port())),
    ):
        pass
