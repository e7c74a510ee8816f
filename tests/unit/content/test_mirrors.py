from __future__ import annotations

import pytest

from oracle.content.cid import CID
from oracle.content.mirrors import MAX_REST_SECONDS, CachedStore, Mirrors
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable


class Clock:
    """Time that passes when told."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Remote(BlockStore):
    """A real store that can be made to fail, and counts what it is asked."""

    def __init__(self, root):
        super().__init__(root)
        self.name = f"http://{root.name}"
        self.trouble: ContentError | None = None
        self.asked = 0

    def put(self, data, *, pin=True):
        self._ask()
        return super().put(data, pin=pin)

    def get_block(self, cid):
        self._ask()
        return super().get_block(cid)

    def has(self, cid):
        self._ask()
        return super().has(cid)

    def _ask(self):
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble


DOWN = ContentUnavailable("is down")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def places(tmp_path):
    return [Remote(tmp_path / name) for name in ("first", "second")]


@pytest.fixture
def mirrors(places, tmp_path, clock):
    return Mirrors(places, tmp_path / "owed", clock=clock)


def test_put__all_well__is_everywhere_and_pinned(mirrors, places):
    cid = mirrors.put(b"data")

    assert [list(place.pins()) for place in places] == [[cid], [cid]]
    assert mirrors.owed() == {"http://first": 0, "http://second": 0}


def test_put__one_place_down__succeeds_and_makes_it_good_later(mirrors, places, clock):
    places[0].trouble = DOWN
    cid = mirrors.put(b"missed")
    assert mirrors.owed() == {"http://first": 1, "http://second": 0}

    places[0].trouble = None
    clock.now += MAX_REST_SECONDS
    mirrors.put(b"next")

    assert mirrors.owed() == {"http://first": 0, "http://second": 0}
    assert set(places[0].pins()) == {cid, CID.of(b"next")}


def test_retry__in_another_process__knows_what_is_owed(mirrors, places, tmp_path):
    places[1].trouble = DOWN
    cid = mirrors.put(b"missed", pin=False)
    places[1].trouble = None

    assert Mirrors(places, tmp_path / "owed").retry() == 1

    assert places[1].has(cid) and list(places[1].pins()) == []


def test_retry__gone_everywhere__is_forgotten(mirrors, places, tmp_path):
    places[1].trouble = DOWN
    cid = mirrors.put(b"missed")
    places[1].trouble = None
    places[0]._path(cid).unlink()

    again = Mirrors(places, tmp_path / "owed")

    assert again.retry() == 0
    assert again.owed() == {"http://first": 0, "http://second": 0}


def test_retry__still_down__still_owes(mirrors, places):
    places[1].trouble = DOWN
    mirrors.put(b"missed")

    assert mirrors.retry() == 0
    assert mirrors.owed()["http://second"] == 1


def test_put__no_place_takes_it__says_why(mirrors, places):
    for place in places:
        place.trouble = DOWN

    with pytest.raises(ContentUnavailable, match="is down"):
        mirrors.put(b"data")


def test_put__too_large_for_one_for_good__is_not_owed(mirrors, places):
    places[0].trouble = ContentError("is too large")
    mirrors.put(b"data")

    assert mirrors.owed()["http://first"] == 0


def test_get__first_place_fails__is_read_from_the_second_and_the_first_rests(mirrors, places, clock):
    cid = mirrors.put(b"data")
    places[0].trouble = DOWN
    places[0].asked = 0

    for _ in range(5):
        assert mirrors.get(cid, max_bytes=10) == b"data"
    assert places[0].asked == 1

    clock.now += 1.1
    mirrors.get(cid, max_bytes=10)
    clock.now += 1.1  # the second rest is two seconds
    mirrors.get(cid, max_bytes=10)
    assert places[0].asked == 2

    places[0].trouble = None
    clock.now += MAX_REST_SECONDS
    mirrors.get(cid, max_bytes=10)
    mirrors.get(cid, max_bytes=10)
    assert places[0].asked == 4


def test_get__nowhere__is_not_found_unless_a_place_could_not_say(mirrors, places):
    with pytest.raises(ContentNotFound, match="http://first, http://second"):
        mirrors.get(CID.of(b"absent"), max_bytes=10)
    assert not mirrors.has(CID.of(b"absent"))

    places[0].trouble = DOWN
    with pytest.raises(ContentUnavailable):
        mirrors.get(CID.of(b"absent"), max_bytes=10)
    with pytest.raises(ContentUnavailable):
        mirrors.has(CID.of(b"absent"))


def test_has__one_place_has_it_and_another_is_down__is_true(mirrors, places):
    cid = mirrors.put(b"data")
    places[0].trouble = DOWN

    assert mirrors.has(cid)


def test_get__blocks_spread_over_the_places__are_put_together(mirrors, places):
    data = b"a" * 2**20 + b"b" * 2**20
    cid = mirrors.put(data)
    for place, character in zip(places, b"ab", strict=True):
        place._path(CID.of(bytes([character]) * 2**20)).unlink()

    assert mirrors.get(cid, max_bytes=2**22) == data


def test_get__too_large_or_malformed__is_the_contents_fault(mirrors):
    cid = mirrors.put(b"data")

    with pytest.raises(ContentError, match="more than the 3 bytes") as caught:
        mirrors.get(cid, max_bytes=3)
    assert not isinstance(caught.value, (ContentUnavailable, ContentNotFound))


def test_get__takes_for_ever__is_given_up(mirrors, places, monkeypatch):
    cid = mirrors.put(b"a" * 2**20 + b"b")
    monkeypatch.setattr("oracle.content.mirrors.MAX_GET_SECONDS", -1.0)

    with pytest.raises(ContentUnavailable, match="did not arrive"):
        mirrors.get(cid, max_bytes=2**22)


def test_pins_and_unpin__over_all_places__follow(mirrors, places):
    first, second = mirrors.put(b"1"), places[1].put(b"2")
    places[0].put(b"2", pin=False)
    assert set(mirrors.pins()) == {first, second}

    mirrors.unpin(first)
    mirrors.pin(second)

    assert [set(place.pins()) for place in places] == [{second}, {second}]


# ---------------------------------------------------------------------------------------------- CachedStore


@pytest.fixture
def cached(mirrors, tmp_path):
    return CachedStore(BlockStore(tmp_path / "local"), mirrors)


def test_cached_put__is_here_and_everywhere(cached, places):
    cid = cached.put(b"data")

    assert cached.local.has(cid) and all(place.has(cid) for place in places)
    assert set(cached.pins()) == {cid}


def test_cached_get__from_elsewhere__is_kept_here_unpinned(cached, places):
    cid = places[1].put(b"data")

    assert cached.get(cid, max_bytes=10) == b"data"
    places[1].trouble = DOWN

    assert cached.get(cid, max_bytes=10) == b"data"
    assert list(cached.local.pins()) == []


def test_cached_get__damaged_here__is_repaired_from_elsewhere(cached):
    cid = cached.put(b"data")
    cached.local._path(cid).write_bytes(b"rotten")

    assert cached.get(cid, max_bytes=10) == b"data"
    assert cached.local.get(cid, max_bytes=10) == b"data"


def test_cached_get__no_room_here__is_read_all_the_same(mirrors, places, tmp_path):
    cid = places[0].put(b"data")
    cached = CachedStore(BlockStore(tmp_path / "local", max_bytes=1), mirrors)

    assert cached.get(cid, max_bytes=10) == b"data"
    assert not cached.local.has(cid)


def test_cached_put__no_mirror_takes_it__fails_unless_this_machine_serves_it(cached, mirrors, places, tmp_path):
    for place in places:
        place.trouble = DOWN
    serving = CachedStore(cached.local, mirrors, uploads=BlockStore(tmp_path / "uploads"))

    with pytest.raises(ContentUnavailable):
        cached.put(b"data")
    serving.put(b"served")
    assert mirrors.owed() == {"http://first": 2, "http://second": 2}


def test_cached_retry__reads_what_is_owed_from_here(places, tmp_path):
    local = BlockStore(tmp_path / "local")
    mirrors = Mirrors(places, tmp_path / "owed", source=local)
    cached = CachedStore(local, mirrors, uploads=BlockStore(tmp_path / "uploads"))
    for place in places:
        place.trouble = DOWN
    cid = cached.put(b"data")
    for place in places:
        place.trouble = None

    assert Mirrors(places, tmp_path / "owed", source=local).retry() == 2

    assert all(place.has(cid) for place in places)


def test_cached_get__upload_of_a_stranger__is_read_and_kept_here(tmp_path):
    uploads = BlockStore(tmp_path / "uploads")
    cached = CachedStore(BlockStore(tmp_path / "local"), None, uploads=uploads)
    cid = uploads.put(b"circuit", pin=False)
    assert cached.has(cid)

    assert cached.get(cid, max_bytes=10) == b"circuit"

    assert cached.local.has(cid)
    with pytest.raises(ContentNotFound):
        cached.get(CID.of(b"absent"), max_bytes=10)


def test_cached_pin__partly_elsewhere__fetches_all_of_it(cached, places):
    cid = places[0].put(b"a" * 2**20 + b"b", pin=False)

    cached.pin(cid)

    places[0].trouble = places[1].trouble = DOWN
    assert cached.get(cid, max_bytes=2**22) == b"a" * 2**20 + b"b"
    cached.unpin(cid)
    assert list(cached.pins()) == []
