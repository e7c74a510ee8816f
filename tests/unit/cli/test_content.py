from __future__ import annotations

import pytest

from oracle.content.cid import CID
from oracle.content.gateway import GatewayServer
from oracle.content.store import BlockStore

LARGE = bytes(2**20) + b"end"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    return path


def test_add__then_get__is_the_same_file_and_pinned(qscrow, home, file, tmp_path):
    added = qscrow("content", "add", file, "--json").json
    back = qscrow("content", "get", added["link"], tmp_path / "back", "--json").json

    assert added["bytes"] == back["bytes"] == len(LARGE)
    assert (tmp_path / "back").read_bytes() == LARGE
    assert [str(cid) for cid in BlockStore(home / "content").pins()] == [added["cid"]]


def test_export__then_import_elsewhere__is_pinned_there(qscrow, home, file, tmp_path, monkeypatch):
    cid = qscrow("content", "add", file, "--json").json["cid"]
    exported = qscrow("content", "export", cid, tmp_path / "file.car", "--json").json
    monkeypatch.setenv("QSCROW_HOME", str(tmp_path / "elsewhere"))

    imported = qscrow("content", "import", tmp_path / "file.car", "--json").json

    assert (exported["blocks"], imported["cid"]) == (3, cid)
    store = BlockStore(tmp_path / "elsewhere" / "content")
    assert list(store.pins()) == [CID.parse(cid)]
    assert store.get(CID.parse(cid), max_bytes=2**22) == LARGE


def test_get__gateways_set__asks_them(qscrow, tmp_path, monkeypatch):
    served = BlockStore(tmp_path / "served")
    cid = served.put(b"over there")
    with GatewayServer(served) as server:
        monkeypatch.setenv("QSCROW_GATEWAYS", server.url)
        said = qscrow("content", "get", str(cid), tmp_path / "back").out

    assert str(tmp_path / "back") in said
    assert (tmp_path / "back").read_bytes() == b"over there"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("get", str(CID.of(b"absent"))), "is not in"),
        (("export", str(CID.of(b"absent"))), "is not in"),
        (("get", "nonsense"), "CID"),
        (("export", "nonsense"), "CID"),
    ],
)
def test_get_export__not_here_or_no_cid__leave_no_file(qscrow, tmp_path, words, said):
    failed = qscrow("content", *words, tmp_path / "out")

    assert failed.code not in (0, 70)
    assert said in failed.error
    assert not (tmp_path / "out").exists()


def test_get__file_exists__is_not_replaced(qscrow, file, tmp_path):
    cid = qscrow("content", "add", file, "--json").json["cid"]
    (tmp_path / "mine").write_text("mine")

    for command in ("get", "export"):
        failed = qscrow("content", command, cid, tmp_path / "mine")
        assert failed.code == 2 and "cannot be written" in failed.error
    assert (tmp_path / "mine").read_text() == "mine"


def test_import__no_archive__stores_nothing(qscrow, home, file):
    failed = qscrow("content", "import", file)

    assert failed.code not in (0, 70)
    assert "CAR" in failed.error
    assert list(BlockStore(home / "content").pins()) == []
