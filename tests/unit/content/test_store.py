from __future__ import annotations

import subprocess
import sys

import pytest

from oracle.content.cid import CID
from oracle.content.store import MAX_PUBLISHED_BYTES, BlockStore, get_object, put_object
from oracle.content.walk import MAX_BLOCK_BYTES, blocks_under
from oracle.jobs.errors import ContentError, ContentNotFound


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "content")


def test_put__up_to_a_mebibyte__is_one_raw_block(store):
    data = b"\x01" * MAX_PUBLISHED_BYTES

    assert store.put(data) == CID.of(data)
    assert store.get(CID.of(data), max_bytes=len(data)) == data


def test_put__larger__is_a_file_that_reads_back(store):
    data = b"a" * 2**20 + b"b" * 2**20 + b"end"

    cid = store.put(data)

    assert store.get(cid, max_bytes=len(data)) == data
    assert len(list(blocks_under(store.get_block, cid))) == 4


def test_put_object__any_digest__is_the_blocks_own_hash(store):
    digest = put_object(store, b"spec")

    assert get_object(store, digest, 100) == b"spec"
    with pytest.raises(ContentError, match="more than the 1048576"):
        put_object(store, bytes(MAX_PUBLISHED_BYTES + 1))


def test_get__absent__is_not_found(store):
    with pytest.raises(ContentNotFound, match="is not in"):
        store.get(CID.of(b"nobody has this"), max_bytes=10)


def test_get__larger_than_allowed__is_refused(store):
    cid = store.put(b"0123456789")

    with pytest.raises(ContentError, match="more than the 9 bytes"):
        store.get(cid, max_bytes=9)


@pytest.mark.parametrize(
    "damage",
    [b"", b"0123456788", b"01234567890", bytes(MAX_BLOCK_BYTES + 10)],
    ids=["emptied", "flipped", "longer", "huge"],
)
def test_get__block_altered_on_disk__is_never_returned(store, damage):
    cid = store.put(b"0123456789")
    store._path(cid).write_bytes(damage)

    with pytest.raises(ContentError, match="are not those of"):
        store.get(cid, max_bytes=100)


def test_put_block__bytes_of_another_cid__are_refused_and_not_stored(store):
    with pytest.raises(ContentError, match="are not those of"):
        store.put_block(CID.of(b"a"), b"b")

    assert not store.has(CID.of(b"a"))
    assert not store.has(CID.of(b"b"))


def test_put_block__oversized__is_refused(store):
    data = bytes(MAX_BLOCK_BYTES + 1)

    with pytest.raises(ContentError, match="too large"):
        store.put_block(CID.of(data), data)


def test_pins__put_and_unpinned__follow(store):
    kept, dropped = store.put(b"kept"), store.put(b"dropped")
    loose = store.put(b"loose", pin=False)

    store.unpin(dropped)

    assert set(store.pins()) == {kept}
    assert store.has(loose)


def test_put__two_processes_at_once__leave_whole_blocks(tmp_path):
    script = (
        "import sys; from pathlib import Path; from oracle.content.store import BlockStore\n"
        "store = BlockStore(Path(sys.argv[1]))\n"
        "for i in range(200): store.put(b'%d' % (i % 50) * 1000)"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]

    assert [process.wait(60) for process in running] == [0, 0]

    store = BlockStore(tmp_path)
    for i in range(50):
        data = b"%d" % i * 1000
        assert store.get(CID.of(data), max_bytes=10_000) == data
    assert len(list(tmp_path.rglob("*.data"))) == 50


def test_init__place_that_cannot_be_used__says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ContentError, match="cannot be used"):
        BlockStore(tmp_path / "file" / "content")
