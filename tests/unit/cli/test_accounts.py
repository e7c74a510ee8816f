from __future__ import annotations

import json

import pytest

from oracle.chain import accounts
from oracle.chain.accounts import load_account
from oracle.sealing.keys import SealingKey

FIELDS = {"name", "address", "sealing_key", "account_file", "sealing_file"}


@pytest.fixture(autouse=True)
def light_keys(monkeypatch):
    """Key derivation that takes no time."""
    create, save = accounts.create_account, SealingKey.save
    monkeypatch.setattr(accounts, "create_account", lambda *a, **k: create(*a, **{**k, "n": 2}))
    monkeypatch.setattr(SealingKey, "save", lambda key, path, password: save(key, path, password, work_factor=2))


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "pw"
    path.write_text("secret\nnot this line\n")
    return path


def test_new__password_file__both_keys_open_with_it(qscrow, home, password_file):
    made = qscrow("account", "new", "alice", "--password-file", password_file, "--json").json

    assert set(made) == FIELDS
    assert load_account(home / "accounts", "alice", "secret").address == made["address"]
    assert "0x" + SealingKey.load(home / "sealing" / "alice.json", "secret").public.hex() == made["sealing_key"]
    assert {(home / kind / "alice.json").stat().st_mode & 0o777 for kind in ("accounts", "sealing")} == {0o600}


def test_new__text__tells_address_and_what_to_back_up(qscrow, home, password_file):
    said = qscrow("account", "new", "alice", "--password-file", password_file).out

    address = json.loads((home / "accounts" / "alice.json").read_text())["address"]
    assert address in said
    assert str(home / "sealing" / "alice.json") in said
    assert "Back up" in said


def test_new__prompt__asks_twice(qscrow, home, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr("typer.prompt", lambda text, **options: asked.append(options) or "typed")

    assert qscrow("account", "new", "alice").code == 0

    assert asked == [{"hide_input": True, "err": True, "confirmation_prompt": True}]
    assert load_account(home / "accounts", "alice", "typed")


@pytest.mark.parametrize("name", ["", "../alice", "a/b", "-x.", "a" * 65, ".hidden", "al ice"])
def test_new__unusable_name__writes_nothing(qscrow, tmp_path, home, password_file, name):
    failed = qscrow("account", "new", "--password-file", password_file, "--", name)

    assert failed.code == 2
    assert "is not a name" in failed.error
    assert not home.exists()


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"", "no password"), (b"\xff", "cannot be")])
def test_new__unusable_password_file__writes_nothing(qscrow, tmp_path, home, content, said):
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)

    failed = qscrow("account", "new", "alice", "--password-file", path)

    assert failed.code == 2
    assert said in failed.error and str(path) in failed.error
    assert not home.exists()


def test_new__nobody_to_ask__says_how_to_give_a_password(qscrow, home):
    failed = qscrow("account", "new", "alice")

    assert failed.error == "error: password: no password is given; use --password-file or QSCROW_PASSWORD_FILE"
    assert not home.exists()


@pytest.mark.parametrize("kind", ["accounts", "sealing"])
def test_new__either_file_exists__replaces_nothing(qscrow, home, password_file, kind):
    (home / kind).mkdir(parents=True)
    (home / kind / "alice.json").write_text("mine")

    failed = qscrow("account", "new", "alice", "--password-file", password_file)

    assert "exists already" in failed.error
    assert [p.read_text() for p in home.rglob("*.json")] == ["mine"]


def test_new__sealing_key_cannot_be_written__leaves_no_account(qscrow, home, password_file):
    home.mkdir()
    (home / "sealing").write_text("a file where a folder should be")

    assert qscrow("account", "new", "alice", "--password-file", password_file).code != 0

    assert not (home / "accounts" / "alice.json").exists()


def test_list__accounts__names_and_addresses(qscrow, wallet):
    assert qscrow("account", "list", "--json").json == {
        name: wallet.address(name) for name in ("oracle", "pauper", "requester", "stranger")
    }
    assert wallet.address("pauper") in qscrow("account", "list").out


def test_list__none__says_how_to_make_one(qscrow):
    assert qscrow("account", "list", "--json").json == {}
    assert "qscrow account new" in qscrow("account", "list").out


def test_show__known__address_and_files(qscrow, wallet, home):
    shown = qscrow("account", "show", "oracle", "--json").json

    assert shown == {
        "name": "oracle",
        "address": wallet.address("oracle"),
        "account_file": str(home / "accounts" / "oracle.json"),
        "sealing_file": str(home / "sealing" / "oracle.json"),
    }
    assert shown["address"] in qscrow("account", "show", "oracle").out


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"address": 7}', '{"address": "0x12"}', "\x00"])
def test_show__damaged_file__is_one_line(qscrow, home, content):
    (home / "accounts").mkdir(parents=True)
    (home / "accounts" / "alice.json").write_text(content)

    assert "alice.json" in qscrow("account", "show", "alice").error
