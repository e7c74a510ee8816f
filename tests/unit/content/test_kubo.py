"""Both clients against a real HTTP server that speaks a part of Kubo's RPC over a real block store, and misbehaves."""

from __future__ import annotations

import pytest

from oracle.content.cid import CID
from oracle.content.kubo import KuboStore
from oracle.content.select import open_store
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentError, ContentNotFound, ContentUnavailable


@pytest.fixture(params=["http", "ipfshttpclient"])
def store(request, kubo, tmp_path):
    return open_store(tmp_path / "unused", {"KUBO_API": kubo.url, "KUBO_CLIENT": request.param})


@pytest.mark.parametrize("size", [0, 10, 3 * 2**20 + 1])
def test_put_get__through_a_node__round_trips_with_our_cids(store, tmp_path, size):
    data = b"q" * size

    cid = store.put(data)

    assert cid == BlockStore(tmp_path / "own").put(data)
    assert store.get(cid, max_bytes=size) == data
    assert store.has(cid)
    assert cid in set(store.pins())


def test_unpin__pinned__is_gone(store):
    cid = store.put(b"short-lived")

    store.unpin(cid)

    assert cid not in set(store.pins())


def test_put__cid_in_another_base__is_the_same_cid(store, kubo):
    kubo.mischief = "base16"

    assert store.put(b"data", pin=False) == CID.of(b"data")


def test_put__node_that_stores_something_else__is_refused(store, kubo):
    kubo.mischief = "wrong cid"

    with pytest.raises(ContentError, match=" stored "):
        store.put(b"data")


@pytest.mark.parametrize("mischief", ["wrong bytes", "endless"])
def test_get__node_that_lies__is_caught(store, kubo, mischief):
    cid = store.put(b"data")
    kubo.mischief = mischief

    with pytest.raises(ContentError):
        store.get(cid, max_bytes=100)


def test_get__absent__is_not_found(store):
    assert not store.has(CID.of(b"absent"))
    with pytest.raises(ContentNotFound):
        store.get(CID.of(b"absent"), max_bytes=10)


@pytest.mark.parametrize("mischief", ["500", "rubbish", "redirect"])
def test_put__node_in_trouble__is_unavailable(store, kubo, mischief):
    kubo.mischief = mischief

    with pytest.raises(ContentUnavailable) as caught:
        store.put(b"data")
    assert "\n" not in str(caught.value)
    assert len(kubo.seen) == 1  # a redirect is not followed


def test_unpin__never_pinned__is_no_error(kubo):
    KuboStore(kubo.url).unpin(CID.of(b"never"))


def test_pins__of_others_in_forms_we_do_not_read__are_left_out(kubo):
    store = KuboStore(kubo.url)
    cid = store.put(b"ours")

    assert list(store.pins()) == [cid]


def test_put__several_nodes__reaches_all_with_each_ones_own_secret(start_kubo, tmp_path):
    nodes = [start_kubo() for _ in range(3)]
    for name in ("a", "c"):
        (tmp_path / name).write_text(f"Bearer {name}")
    env = {
        "KUBO_API": ", ".join(node.url for node in nodes),
        "KUBO_AUTHORIZATION_FILE": f"{tmp_path / 'a'},,{tmp_path / 'c'}",
    }

    cid = open_store(tmp_path / "home", env).put(b"data")

    assert [list(node.store.pins()) for node in nodes] == [[cid]] * 3
    assert [{seen[2] for seen in node.seen} for node in nodes] == [{"Bearer a"}, {None}, {"Bearer c"}]


@pytest.mark.parametrize("mischief", ["500", "wrong bytes", "endless", "rubbish", "redirect"])
def test_get__one_of_two_nodes_misbehaves__is_read_from_the_other(start_kubo, tmp_path, mischief):
    nodes = [start_kubo() for _ in range(2)]
    store = open_store(tmp_path / "home", {"KUBO_API": ",".join(node.url for node in nodes)})
    cid = store.put(b"data")
    nodes[0].mischief = mischief

    assert store.get(cid, max_bytes=10) == b"data"


def test_put__one_of_two_nodes_down__is_made_good_by_a_later_process(start_kubo, tmp_path):
    nodes = [start_kubo() for _ in range(2)]
    env = {"KUBO_API": ",".join(node.url for node in nodes)}
    nodes[1].mischief = "500"
    missed = open_store(tmp_path / "home", env).put(b"missed")
    nodes[1].mischief = ""

    open_store(tmp_path / "home", env).put(b"next")

    assert missed in set(nodes[1].store.pins())


def test_put__node_that_refuses_us__asks_for_authorisation(kubo):
    kubo.mischief = "401"

    with pytest.raises(ContentUnavailable) as caught:
        KuboStore(kubo.url).put(b"data")
    assert caught.value.field == "KUBO_AUTHORIZATION"


def test_put__with_authorisation__sends_it_and_asks_explicitly(kubo, tmp_path):
    (tmp_path / "auth").write_text("Bearer s3cret\n")
    env = {
        "KUBO_API": f"/ip4/127.0.0.1/tcp/{kubo.server_address[1]}",
        "KUBO_AUTHORIZATION_FILE": str(tmp_path / "auth"),
    }

    open_store(tmp_path, env).put(b"data")

    command, query, authorization = kubo.seen[0]
    assert (command, authorization) == ("block/put", "Bearer s3cret")
    assert query == {"format": "raw", "mhtype": "sha2-256", "pin": "false"}


def test_get__node_that_hangs__is_unavailable(kubo):
    cid = CID.of(b"data")
    kubo.mischief = "hang"

    with pytest.raises(ContentUnavailable):
        KuboStore(kubo.url, timeout=0.2).get(cid, max_bytes=10)


@pytest.mark.parametrize("client", ["http", "ipfshttpclient"])
def test_put__nobody_there__is_unavailable(tmp_path, client):
    with pytest.raises(ContentUnavailable) as caught:
        open_store(tmp_path, {"KUBO_API": "http://127.0.0.1:9", "KUBO_CLIENT": client}).put(b"data")
    assert caught.value.field == "KUBO_API"
