from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.content.car import CarReader, car_header, car_parts, export_car, import_car
from oracle.content.cid import CID, DAG_PB, varint
from oracle.content.dag import Profile, import_file
from oracle.content.store import BlockStore
from oracle.content.walk import MAX_BLOCK_BYTES, read_file
from oracle.jobs.errors import ContentError, ContentNotFound

# {"roots": [bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e], "version": 1} and b"hello world", as
# @ipld/car 5.4.7 writes them.
HELLO = bytes.fromhex(
    "3aa265726f6f747381d82a58250001551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    "6776657273696f6e012f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    "68656c6c6f20776f726c64"
)
SMALL = Profile(1, True, 16, 3)


class Memory:
    """Blocks in a dictionary: what a store does, quickly."""

    def __init__(self):
        self.blocks: dict[CID, bytes] = {}
        self.pinned: list[CID] = []

    def put_block(self, cid, block):
        cid.verify(block)
        self.blocks[cid] = block

    def get_block(self, cid):
        return self.blocks[cid]

    def pin(self, cid):
        self.pinned.append(cid)


def archive_of(data: bytes, profile: Profile = SMALL) -> tuple[CID, bytes]:
    store, out = Memory(), io.BytesIO()
    root = import_file(data, store.put_block, profile)
    export_car(store, root, out)
    return root, out.getvalue()


def imported(archive: bytes, root: CID | None = None, max_bytes: int = 10**6) -> tuple[CID, Memory]:
    store = Memory()
    return import_car(store, archive, root, max_bytes=max_bytes), store


def test_export_car__one_block__is_what_another_implementation_writes():
    root, archive = archive_of(b"hello world")

    assert archive == HELLO
    assert imported(HELLO)[0] == root


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 40), st.integers(2, 5), st.booleans(), st.integers(0, 1))
def test_import_car__any_file__round_trips(data, chunk, width, raw, version):
    root, archive = archive_of(data, Profile(version, raw, chunk, width))

    found, store = imported(archive)

    assert found == root and store.pinned == [root]
    assert read_file(store.get_block, root, 1_000) == data


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_import_car__one_byte_changed__is_refused_or_still_the_same(data):
    root, archive = archive_of(bytes(range(100)))
    position = data.draw(st.integers(0, len(archive) - 1))
    changed = bytearray(archive)
    changed[position] ^= data.draw(st.integers(1, 255))

    try:
        _, store = imported(bytes(changed), root)
    except ContentError:
        return
    assert read_file(store.get_block, root, 1_000) == bytes(range(100))


def test_import_car__cut_off_anywhere__is_refused():
    root, archive = archive_of(bytes(range(100)))

    for end in range(len(archive)):
        store = Memory()
        with pytest.raises(ContentError):
            import_car(store, archive[:end], root, max_bytes=10**6)
        assert store.blocks == {} and store.pinned == []


@given(st.binary(max_size=120))
def test_import_car__any_bytes_behind_a_header__are_refused_or_verified(data):
    cid = CID.of(b"hello world")
    try:
        _, store = imported(car_header([cid.bytes]) + data)
    except ContentError:
        return
    assert store.blocks == {cid: b"hello world"}


@given(st.binary(max_size=80))
def test_car_reader__any_bytes__are_an_archive_or_a_content_error(data):
    try:
        list(CarReader(io.BytesIO(data), 1_000))
    except ContentError:
        return


def test_import_car__blocks_in_any_order_twice_and_others__takes_what_is_needed():
    store = Memory()
    root = import_file(bytes(range(100)), store.put_block, SMALL)
    stranger = CID.of(b"stranger")
    blocks = [(stranger, b"stranger"), *reversed(store.blocks.items()), *store.blocks.items()]
    archive = b"".join(car_parts([root], blocks))

    _, found = imported(archive)

    assert found.blocks == store.blocks


def test_import_car__a_block_missing__stores_nothing():
    store = Memory()
    root = import_file(bytes(range(100)), store.put_block, SMALL)
    blocks = [entry for entry in store.blocks.items() if entry[1] != bytes(range(16, 32))]
    into = Memory()

    with pytest.raises(ContentNotFound, match="the archive lacks"):
        import_car(into, b"".join(car_parts([root], blocks)), max_bytes=10**6)
    assert into.blocks == {}


@pytest.mark.parametrize("roots", [[], [CID.of(b"a"), CID.of(b"b")]])
def test_import_car__not_one_root__is_refused_unless_told_which(roots):
    cid = CID.of(b"a")
    archive = b"".join(car_parts(roots, [(cid, b"a")]))

    with pytest.raises(ContentError, match="roots, not one"):
        imported(archive)
    assert imported(archive, cid)[0] == cid


def test_car_header__roots_of_both_versions__read_back():
    roots = [CID.of(b"a"), CID.of(b"b", DAG_PB), CID.of(b"c", DAG_PB, version=0)]

    assert CarReader(io.BytesIO(b"".join(car_parts(roots, []))), 1_000).roots == roots


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (b"", "it is empty"),
        (b"\x00", "has 0 bytes"),
        (varint(2**30) + b"\xa2", "has 1073741824 bytes"),
        (b"\xff" * 20, "cut off"),
        (b"\x80\x00", "shortest form"),
        (bytes.fromhex("0aa16776657273696f6e02"), "CARv2"),
        (varint(17) + b"\xa2\x65roots\xf6\x67version\x01", "not that of CARv1"),
        (HELLO[:59] + varint(2**22 + 100) + bytes(10), "a part of it has"),
    ],
    ids=["empty", "nothing", "huge", "endless number", "padded number", "version 2", "no roots", "huge block"],
)
def test_car_reader__malformed__says_what(archive, why):
    with pytest.raises(ContentError, match=why):
        list(CarReader(io.BytesIO(archive), 10**6))


def test_car_reader__block_too_large__is_refused():
    block = bytes(MAX_BLOCK_BYTES + 1)
    archive = b"".join(car_parts([], [(CID.of(block), block)]))

    with pytest.raises(ContentError, match="a block has"):
        list(CarReader(io.BytesIO(archive), 10**7))


def test_car_reader__more_bytes_than_allowed__stops_there():
    _, archive = archive_of(bytes(range(100)))
    stream = io.BytesIO(archive)

    with pytest.raises(ContentError, match="more than the 200 bytes"):
        list(CarReader(stream, 200))
    assert stream.tell() <= 202


def test_export_car__from_and_into_stores_on_disk__keeps_the_file(tmp_path):
    here, there, out = BlockStore(tmp_path / "a"), BlockStore(tmp_path / "b"), io.BytesIO()
    data = b"x" * 2**20 + b"y"
    cid = here.put(data)

    assert export_car(here, cid, out) == 3
    import_car(there, out.getvalue(), cid, max_bytes=2**22)

    assert there.get(cid, max_bytes=2**22) == data
    assert list(there.pins()) == [cid]
