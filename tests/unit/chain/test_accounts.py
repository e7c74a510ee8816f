from __future__ import annotations

import json
import os
import stat

import pytest

from oracle.chain.accounts import (
    account_address,
    account_path,
    create_account,
    list_accounts,
    load_account,
    load_account_from_env_file,
    read_password,
)
from oracle.jobs.errors import InputError

KEY = bytes.fromhex("4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d")
FAST = 2  # scrypt's work factor


def create(folder, name="alice", **options):
    return create_account(folder, name, "pass word", n=FAST, **options)


def test_load_account__what_create_wrote__signs_as_the_same_address(tmp_path):
    address = create(tmp_path, key=KEY)

    account = load_account(tmp_path, "alice", "pass word")

    assert account.address == address == account_address(tmp_path, "alice")
    assert bytes(account.key) == KEY


def test_create_account__without_a_key__makes_another_each_time(tmp_path):
    assert create(tmp_path, "a") != create(tmp_path, "b")
    assert list(list_accounts(tmp_path)) == ["a", "b"]


def test_create_account__file__is_private_and_alone(tmp_path):
    create(tmp_path / "accounts", key=KEY)

    (path,) = (tmp_path / "accounts").iterdir()
    assert path.name == "alice.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY.hex() not in path.read_text()


def test_create_account__name_in_use__leaves_the_first_untouched(tmp_path):
    create(tmp_path)
    before = account_path(tmp_path, "alice").read_bytes()

    with pytest.raises(InputError, match="exists already"):
        create(tmp_path)

    assert account_path(tmp_path, "alice").read_bytes() == before


def test_create_account__file_appears_meanwhile__is_not_replaced(tmp_path, monkeypatch):
    link = os.link

    def rival_first(source, target):
        target.write_text("the rival's")
        link(source, target)

    monkeypatch.setattr(os, "link", rival_first)

    with pytest.raises(InputError, match="exists already"):
        create(tmp_path)

    assert account_path(tmp_path, "alice").read_text() == "the rival's"
    assert [path.name for path in tmp_path.iterdir()] == ["alice.json"]


def test_create_account__folder_cannot_be_made__is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="cannot be written"):
        create(tmp_path / "file" / "accounts")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../alice", "a/b", "/etc/passwd", "a\\b", "-rf", ".hidden", "a\0", "a\n", "a" * 65, "é"]
)
def test_account_path__name_that_is_no_plain_word__is_refused_everywhere(tmp_path, name):
    for use in (
        lambda: account_path(tmp_path, name),
        lambda: create(tmp_path, name),
        lambda: load_account(tmp_path, name, "pass word"),
        lambda: account_address(tmp_path, name),
    ):
        with pytest.raises(InputError, match="is not a name"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_load_account__wrong_password__says_so_and_nothing_else(tmp_path):
    create(tmp_path, key=KEY)

    with pytest.raises(InputError, match="wrong password") as refused:
        load_account(tmp_path, "alice", "a secret guess")

    assert "a secret guess" not in str(refused.value)


def test_load_account__unknown_name__lists_the_known(tmp_path):
    create(tmp_path)

    with pytest.raises(InputError, match="known: alice"):
        load_account(tmp_path, "bob", "pass word")


def _damaged(document: dict) -> list[bytes]:
    text = json.dumps(document)
    return [
        b"",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"{}",
        text[: len(text) // 2].encode(),
        json.dumps({**document, "version": 9}).encode(),
        json.dumps({**document, "crypto": None}).encode(),
        json.dumps({**document, "crypto": {**document["crypto"], "kdf": "rot13"}}).encode(),
        json.dumps({**document, "crypto": {**document["crypto"], "kdfparams": 5}}).encode(),
        json.dumps({**document, "crypto": {**document["crypto"], "ciphertext": "zz"}}).encode(),
        json.dumps({**document, "crypto": {**document["crypto"], "cipherparams": {"iv": 5}}}).encode(),
        json.dumps({**document, "crypto": {**document["crypto"], "mac": 5}}).encode(),
        b"[" * 60_000,
        b" " * 70_000,
    ]


@pytest.mark.parametrize("which", range(15))
def test_load_account__damaged_file__is_refused_in_one_line(tmp_path, which):
    create(tmp_path, key=KEY)
    path = account_path(tmp_path, "alice")
    path.write_bytes(_damaged(json.loads(path.read_text()))[which])

    with pytest.raises(InputError) as refused:
        load_account(tmp_path, "alice", "pass word")

    assert "\n" not in str(refused.value)
    assert KEY.hex() not in str(refused.value)


@pytest.mark.parametrize("address", [None, 5, "", "0x12", "zz" * 20])
def test_account_address__file_without_a_good_one__is_refused(tmp_path, address):
    account_path(tmp_path, "alice").write_text(json.dumps({"address": address}))

    with pytest.raises(InputError):
        account_address(tmp_path, "alice")


def test_account_address__as_other_wallets_write_it__is_checksummed(tmp_path):
    account_path(tmp_path, "alice").write_text(json.dumps({"address": "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"}))

    assert account_address(tmp_path, "alice") == "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def env_file(folder, text, mode=0o600):
    path = folder / "key.env"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("written", ["0x" + KEY.hex(), KEY.hex(), "  0x" + KEY.hex() + " "])
def test_load_account_from_env_file__a_key__is_that_account(tmp_path, written):
    path = env_file(tmp_path, f"# mine\nOTHER=1\nQSCROW_PRIVATE_KEY={written}\n")

    assert bytes(load_account_from_env_file(path).key) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620, 0o601])
def test_load_account_from_env_file__others_may_use_the_file__is_refused(tmp_path, mode):
    path = env_file(tmp_path, f"QSCROW_PRIVATE_KEY=0x{KEY.hex()}\n", mode)

    with pytest.raises(InputError, match="others can read it") as refused:
        load_account_from_env_file(path)

    assert "chmod 600" in refused.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "QSCROW_PRIVATE_KEY=",
        f"QSCROW_PRIVATE_KEY=0x{KEY.hex()}ff",
        f"QSCROW_PRIVATE_KEY={KEY.hex()[:-2]}",
        f"QSCROW_PRIVATE_KEY={KEY.hex()[:-2]}zz",
        f"QSCROW_PRIVATE_KEY={KEY.hex()}\nQSCROW_PRIVATE_KEY={KEY.hex()}",
        f"PRIVATE_KEY={KEY.hex()}",
        "QSCROW_PRIVATE_KEY=" + "00" * 32,
        "QSCROW_PRIVATE_KEY=" + "ff" * 32,
    ],
)
def test_load_account_from_env_file__no_good_key__is_refused_without_quoting_it(tmp_path, text):
    path = env_file(tmp_path, text)

    with pytest.raises(InputError) as refused:
        load_account_from_env_file(path)

    shown = str(refused.value)
    assert KEY.hex()[:12] not in shown
    assert "ffffffff" not in shown
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_load_account_from_env_file__not_readable__is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_account_from_env_file(tmp_path / "absent.env")

    path = tmp_path / "binary.env"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(InputError, match="cannot be read"):
        load_account_from_env_file(path)


@pytest.mark.parametrize(("text", "password"), [("secret\n", "secret"), ("a b\r\nrest", "a b"), ("", ""), ("\n", "")])
def test_read_password__first_line__without_its_end(tmp_path, text, password):
    (tmp_path / "password").write_bytes(text.encode())

    assert read_password(tmp_path / "password") == password


def test_read_password__no_file__is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_password(tmp_path / "password")
