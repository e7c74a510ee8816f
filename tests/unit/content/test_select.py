from __future__ import annotations

import pytest

from oracle.content.mirrors import CachedStore, Mirrors
from oracle.content.select import open_node_store, open_store
from oracle.content.store import BlockStore
from oracle.jobs.errors import ContentUnavailable, InputError

KUBO, GATEWAY = "http://127.0.0.1:5001", "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({}, BlockStore),
        ({"KUBO_API": "", "QSCROW_GATEWAYS": " , "}, BlockStore),
        ({"KUBO_API": KUBO}, Mirrors),
        ({"KUBO_API": f"{KUBO},/ip6/::1/tcp/5001,/dns4/kubo.example/tcp/443/https"}, Mirrors),
        ({"QSCROW_GATEWAYS": GATEWAY}, CachedStore),
        ({"QSCROW_GATEWAYS": GATEWAY, "KUBO_API": KUBO}, CachedStore),
    ],
)
def test_open_store__settings__choose_the_store(tmp_path, env, kind):
    assert type(open_store(tmp_path, env)) is kind


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"KUBO_API": "not a url"}, "KUBO_API"),
        ({"KUBO_API": "ftp://x"}, "KUBO_API"),
        ({"KUBO_API": "http://[::1"}, "KUBO_API"),
        ({"KUBO_API": "http://x:99999"}, "KUBO_API"),
        ({"KUBO_API": f"{KUBO},http://x/a b"}, "KUBO_API"),
        ({"KUBO_API": "http://me:s3cret@x:5001"}, "KUBO_API"),
        ({"KUBO_API": ",".join(f"http://x:{port}" for port in range(1, 20))}, "KUBO_API"),
        ({"KUBO_API": "http://x:1", "KUBO_CLIENT": "curl"}, "KUBO_CLIENT"),
        ({"KUBO_API": "http://x:1", "KUBO_AUTHORIZATION": "a\nb"}, "KUBO_AUTHORIZATION"),
        ({"KUBO_API": "http://x:1,http://y:1", "KUBO_AUTHORIZATION": "Bearer s3cret"}, "KUBO_AUTHORIZATION"),
        ({"KUBO_API": "http://x:1,http://y:1", "KUBO_AUTHORIZATION_FILE": "/dev/null"}, "KUBO_AUTHORIZATION_FILE"),
        ({"KUBO_API": "http://x:1", "KUBO_AUTHORIZATION_FILE": "/dev/null"}, "KUBO_AUTHORIZATION_FILE"),
        ({"KUBO_API": "http://x:1", "KUBO_AUTHORIZATION_FILE": "/nonexistent"}, "KUBO_AUTHORIZATION_FILE"),
        ({"QSCROW_GATEWAYS": "oracle.example:8080"}, "QSCROW_GATEWAYS"),
        ({"QSCROW_GATEWAYS": "http://oracle.example/?x=1"}, "QSCROW_GATEWAYS"),
    ],
)
@pytest.mark.parametrize("opened", [open_store, open_node_store])
def test_open_store__unusable_setting__names_the_variable_and_no_secret(tmp_path, env, field, opened):
    with pytest.raises(InputError) as caught:
        opened(tmp_path, env)

    assert caught.value.field == field
    assert "s3cret" not in str(caught.value)


def test_open_node_store__nothing_set__reads_uploads_and_keeps_what_it_read(tmp_path):
    store = open_node_store(tmp_path, {}, upload_quota=10)
    cid = store.uploads.put(b"1234567890", pin=False)

    assert store.get(cid, max_bytes=10) == b"1234567890"

    assert store.local.has(cid)
    with pytest.raises(ContentUnavailable, match="is full"):
        store.uploads.put(b"more")


def test_open_node_store__mirrors_down__still_stores(tmp_path):
    store = open_node_store(tmp_path, {"QSCROW_GATEWAYS": "http://127.0.0.1:9"})

    cid = store.put(b"result")

    assert store.local.has(cid)
    assert store.mirrors.owed() == {"http://127.0.0.1:9": 1}
