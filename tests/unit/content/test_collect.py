"""What a garbage collection may never drop, and what it survives."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from oracle.content.cid import CID, DAG_PB
from oracle.content.store import GRACE_SECONDS, BlockStore
from oracle.content.walk import blocks_under
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable

DAY = 86_400.0


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "content")


def age(store: BlockStore, seconds: float = DAY) -> None:
    """Make every block look as if it had been stored that long ago."""
    then = time.time() - seconds
    for path in store.root.glob("blocks/*/*"):
        os.utime(path, (then, then))


def large(character: bytes) -> bytes:
    return character * (2**20) + character + b"end"


def test_collect__nobody_needs_them__drops_old_blocks(store):
    loose = store.put(b"loose", pin=False)
    age(store)

    report = store.collect()

    assert not store.has(loose)
    assert (report.dropped_blocks, report.dropped_bytes) == (1, 5)
    assert (report.kept_blocks, report.kept_bytes, store.used_bytes()) == (0, 0, 0)


def test_collect__pinned_with_all_below__stays(store):
    small, big = store.put(b"small"), store.put(large(b"a"))
    age(store)

    report = store.collect()

    assert report.dropped_blocks == 0
    assert store.get(big, max_bytes=2**22) == large(b"a")
    assert store.get(small, max_bytes=10) == b"small"


def test_collect__named_by_a_live_job__stays_with_all_below(store):
    kept, dropped = store.put(large(b"k"), pin=False), store.put(b"dropped", pin=False)
    age(store)

    store.collect(lambda: nullcontext([kept, CID.of(b"a job's circuit that never came")]))

    assert store.get(kept, max_bytes=2**22) == large(b"k")
    assert not store.has(dropped)


def test_collect__needed_while_it_runs__stays(store, monkeypatch):
    """Each time before blocks go it is asked what is needed, and what was said holds until they are gone."""
    monkeypatch.setattr("oracle.content.store._BATCH", 1)
    cids = [store.put(b"block %d" % number, pin=False) for number in range(20)]
    age(store)
    needed: set[CID] = set()

    @contextmanager
    def one_more_that_is_still_here():
        before = {cid for cid in cids if store.has(cid)}
        needed.update(sorted(before - needed, key=str)[:1])
        yield needed
        gone = before - {cid for cid in cids if store.has(cid)}
        assert len(gone) <= 1 and not gone & needed

    report = store.collect(one_more_that_is_still_here)

    assert needed and all(store.has(cid) for cid in needed)
    assert report.dropped_blocks == 20 - len(needed) > 0


def test_collect__unpinned__goes_with_all_below(store):
    cid = store.put(large(b"u"))
    store.unpin(cid)
    age(store)

    assert store.collect().dropped_blocks == 3


@pytest.mark.parametrize("min_age", [0.0, GRACE_SECONDS])
def test_collect__just_written__stays_whatever_the_age_asked_for(store, min_age):
    cid = store.put(b"about to be pinned", pin=False)

    assert store.collect(min_age=min_age).dropped_blocks == 0
    assert store.has(cid)


def test_collect__stored_again__counts_as_new(store):
    cid = store.put(b"twice", pin=False)
    age(store)
    store.put(b"twice", pin=False)

    store.collect()

    assert store.has(cid)


def test_collect__shared_leaf__stays_for_the_one_pinned(store):
    gone, kept = store.put(large(b"s") + b"1", pin=False), store.put(large(b"s") + b"2")
    age(store)

    report = store.collect()

    assert report.dropped_blocks == 2  # the root and the last chunk of the other
    assert not store.has(gone)
    assert store.get(kept, max_bytes=2**22) == large(b"s") + b"2"


def test_collect__same_bytes_as_leaf_and_as_node__are_one_block(store):
    big = store.put(large(b"n"), pin=False)
    store.put(store.get_block(big))  # the node's bytes pinned as a plain file
    age(store)

    report = store.collect()

    assert report.kept_blocks == 1
    assert store.has(big)


@pytest.mark.parametrize("damage", ["lost", "altered"])
def test_collect__node_of_a_pinned_file_lost__drops_nothing_and_names_it(store, damage):
    big, loose = store.put(large(b"p")), store.put(b"loose", pin=False)
    path = store._path(big)
    path.unlink() if damage == "lost" else path.write_bytes(b"rotten")
    age(store)

    with pytest.raises(ContentError, match="part of something pinned is lost") as caught:
        store.collect()

    assert str(big) in str(caught.value)
    assert store.has(loose)


def test_collect__files_that_are_no_blocks__are_left_alone(store):
    cid = store.put(b"data")
    (store.root / "pins" / ".DS_Store").write_bytes(b"")
    strange = store._path(cid).with_name("notes.txt")
    strange.write_text("mine")
    age(store)

    store.collect()

    assert strange.exists() and store.has(cid)


def test_collect__unfinished_files_of_dead_processes__go(store):
    cid = store.put(b"data")
    left, fresh = (store._path(cid).with_name(f".new-{name}") for name in ("left", "fresh"))
    left.write_bytes(b"half")
    age(store)
    fresh.write_bytes(b"half")

    store.collect()

    assert not left.exists() and fresh.exists()


def test_collect__count_off_after_a_crash__is_right_again(store):
    store.put(b"12345")
    (store.root / "used").write_bytes(b"%020d" % 999)

    assert store.collect().kept_bytes == 5
    assert store.used_bytes() == 5


def test_pin__not_here_or_not_whole__is_refused(store):
    big = store.put(large(b"w"), pin=False)
    leaf = next(cid for cid, _ in blocks_under(store.get_block, big) if cid.codec != DAG_PB)
    store._path(leaf).unlink()

    for cid in (big, CID.of(b"never stored")):
        with pytest.raises(ContentNotFound):
            store.pin(cid)
    assert list(store.pins()) == []


def test_put__over_the_cap__is_refused_and_leaves_nothing(tmp_path):
    store = BlockStore(tmp_path, max_bytes=10)
    store.put(b"12345678")

    with pytest.raises(ContentUnavailable, match="is full: 8 of 10 bytes"):
        store.put(b"abc")

    assert store.used_bytes() == 8
    assert [path.name for path in tmp_path.glob("blocks/*/*") if path.name.startswith(".")] == []
    store.put(b"12345678")  # what is here already needs no room
    assert BlockStore(tmp_path, max_bytes=11).put(b"abc") == CID.of(b"abc")


def test_put__older_store_without_a_count__counts_first(tmp_path):
    BlockStore(tmp_path).put(b"12345678")
    (tmp_path / "used").unlink()

    with pytest.raises(ContentUnavailable, match="is full"):
        BlockStore(tmp_path, max_bytes=10).put(b"abc")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_put__disk_fails__says_so_and_leaves_nothing_half_written(store, monkeypatch, call, number):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(f"oracle.content.store.os.{call}", fail)
        with pytest.raises(ContentUnavailable, match=errno.errorcode[number]):
            store.put(b"data")

    assert list(store.root.glob("blocks/*/*")) == []
    assert store.put(b"data") == CID.of(b"data")


def test_get__block_damaged_on_disk__is_repaired_by_storing_it_again(store):
    cid = store.put(b"0123456789")
    store._path(cid).write_bytes(b"01234567890 and more")

    with pytest.raises(ContentNotFound, match="are not those of"):
        store.get(cid, max_bytes=100)
    store.put(b"0123456789")

    assert store.get(cid, max_bytes=100) == b"0123456789"
    assert store.collect().kept_bytes == store.used_bytes() == 10


WRITER = """
import random, sys
from pathlib import Path
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentNotFound
store, random_ = BlockStore(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
while True:
    cid = store.put(b"%d" % random_.randrange(2_000) * 500, pin=False)
    try:
        store.pin(cid)
    except ContentNotFound:
        continue
    print("ok", flush=True)
"""
COLLECTOR = """
import sys
from pathlib import Path
from oracle.content import store
store.GRACE_SECONDS = -1  # everything is old: the worst case
while True:
    store.BlockStore(Path(sys.argv[1])).collect(min_age=-1)
    print("ok", flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


def work(process: subprocess.Popen, rounds: int) -> None:
    for _ in range(rounds):
        assert process.stdout.readline() == "ok\n"


def test_collect__killed_at_any_moment__hurts_nothing_pinned(tmp_path):
    store = BlockStore(tmp_path)
    pinned = {store.put(b"%d" % i * 2_000): b"%d" % i * 2_000 for i in range(300)}
    random_ = random.Random(7)
    for attempt in range(6):
        for i in range(300):
            store.put(b"%d loose %d" % (attempt, i), pin=False)
        collector = start(COLLECTOR, str(tmp_path))
        work(collector, random_.randrange(3))
        collector.send_signal(signal.SIGKILL)
        collector.communicate()

    for cid, data in pinned.items():
        assert store.get(cid, max_bytes=10_000) == data
    age(store)
    assert store.collect().kept_blocks == 300
    assert store.used_bytes() == sum(path.stat().st_size for path in tmp_path.glob("blocks/*/*"))


def test_pin__while_others_write_and_collect__never_keeps_what_is_gone(tmp_path):
    """`pin` either refuses or holds: a block collected between storing and pinning is never pinned as if it were here.

    The writers have no grace period, so some of their pins are refused; what they did pin must be there.
    """
    writers = [start(WRITER, str(tmp_path), str(seed)) for seed in range(2)]
    collector = start(COLLECTOR, str(tmp_path))
    try:
        for writer in writers:
            work(writer, 150)
        work(collector, 1)
    finally:
        for process in (*writers, collector):
            process.kill()
            process.communicate()
    store = BlockStore(Path(tmp_path))
    assert all(store.has(cid) for cid in store.pins())
    assert list(store.pins())
