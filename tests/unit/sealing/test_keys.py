from __future__ import annotations

import copy
import hashlib
import hmac
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import eth_keyfile
import pytest

from oracle.jobs.errors import SealError
from oracle.sealing.keys import HybridKey, SealingKey, key_id

SECRET = bytes(range(1, 33))
PASSWORD = "correct hörse 馬"
FAST = 2
GOLDEN_JOB_KEY = "26b98693bb400e4135a008543e76e2b93d8eb1c4fbd25c74fa6150184fa3cf0b"


def hkdf_by_hand(secret: bytes, info: bytes, salt: bytes = bytes(32)) -> bytes:
    """RFC 5869 with hmac alone; one output block is enough for 32 bytes."""
    pseudorandom = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()


def raw(key: SealingKey) -> bytes:
    return bytes(key.as_nacl())


def saved(folder: Path, secret: bytes = SECRET) -> Path:
    path = folder / "key.json"
    SealingKey.from_bytes(secret).save(path, PASSWORD, work_factor=FAST)
    return path


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- keys -------------------------------------------------------------------------------


def test_from_bytes__rfc_7748_vector__public_key_matches() -> None:
    # RFC 7748 section 6.1, Alice's key pair.
    alice = SealingKey.from_bytes(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"


@pytest.mark.parametrize("secret", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32), "01" * 16, None])
def test_from_bytes__not_32_secret_bytes__seal_error(secret: Any) -> None:
    for kind in (SealingKey, HybridKey):
        with pytest.raises(SealError, match="32 secret bytes"):
            kind.from_bytes(secret)


def test_generate__twice__different_keys() -> None:
    assert SealingKey.generate() != SealingKey.generate()
    assert HybridKey.generate() != HybridKey.generate()


def test_for_spec__known_inputs__matches_hkdf_by_hand() -> None:
    digest = hashlib.sha256(b"spec").digest()
    expected = hkdf_by_hand(SECRET, b"qscrow/sealing-key/1|" + digest)
    assert raw(SealingKey.from_bytes(SECRET).for_spec(digest)) == expected
    # Fixed once from the line above: a changed label or order must not pass unnoticed.
    assert expected.hex() == GOLDEN_JOB_KEY


def test_for_spec__other_spec_or_other_master__other_key() -> None:
    one, two = b"\x01" * 32, b"\x02" * 32
    master = SealingKey.from_bytes(SECRET)
    keys = {
        master,
        master.for_spec(one),
        master.for_spec(two),
        SealingKey.from_bytes(b"\x05" * 32).for_spec(one),
    }
    assert len(keys) == 4
    assert master.for_spec(one) == SealingKey.from_bytes(SECRET).for_spec(one)


@pytest.mark.parametrize("digest", [b"", b"\x01" * 31, "01" * 32])
def test_for_spec__not_a_digest__seal_error(digest: Any) -> None:
    with pytest.raises(SealError, match="32-byte digest"):
        SealingKey.from_bytes(SECRET).for_spec(digest)


def test_hybrid__known_master__seed_is_hkdf_by_hand() -> None:
    seed = hkdf_by_hand(SECRET, b"qscrow/xwing-seed/1")
    assert SealingKey.from_bytes(SECRET).hybrid() == HybridKey.from_bytes(seed)


def test_hybrid_from_bytes__draft_vector__public_key_matches() -> None:
    # First test vector of draft-connolly-cfrg-xwing-kem: the start of its public key.
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = HybridKey.from_bytes(seed).public.hex()
    assert len(public) == 2 * 1216
    assert public.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")


def test_key_id__x25519__is_the_public_key_itself() -> None:
    key = SealingKey.from_bytes(SECRET)
    assert key_id(key.public) == key.public.hex()


def test_key_id__xwing__is_sha256_of_the_public_key() -> None:
    key = HybridKey.from_bytes(SECRET)
    assert key_id(key.public) == hashlib.sha256(key.public).hexdigest()


@pytest.mark.parametrize("kind", [SealingKey, HybridKey])
def test_repr__any_way_to_print_a_key__shows_no_secret(kind: type[SealingKey] | type[HybridKey]) -> None:
    key = kind.from_bytes(SECRET)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert SECRET.hex() not in text and repr(SECRET)[2:-1] not in text
        assert key_id(key.public) in text
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("kind", [SealingKey, HybridKey])
def test_pickle__key__refused(kind: type[SealingKey] | type[HybridKey]) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(SealError, match="not copied or pickled"):
            attempt(kind.from_bytes(SECRET))


# --- keystore files ---------------------------------------------------------------------


def test_save__then_load__same_key(tmp_path: Path) -> None:
    assert raw(SealingKey.load(saved(tmp_path), PASSWORD)) == SECRET


def test_save__new_file__private_whole_and_alone(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key.json"]


def test_save__permissive_umask__still_private(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        assert stat.S_IMODE(saved(tmp_path).stat().st_mode) == 0o600
    finally:
        os.umask(previous)


def test_save__keystore_file__opens_with_the_ethereum_library(tmp_path: Path) -> None:
    keystore = json.loads(saved(tmp_path).read_text())
    assert eth_keyfile.decode_keyfile_json(keystore, PASSWORD.encode()) == SECRET
    assert "address" not in keystore
    assert keystore["qscrow"]["public"] == "0x" + SealingKey.from_bytes(SECRET).public.hex()


def test_save__default_work_factor__is_strong() -> None:
    assert SealingKey.save.__kwdefaults__ == {"work_factor": 2**18}


def test_save__file_exists__refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text("precious")
    for attempt in (
        lambda: SealingKey.generate().save(path, PASSWORD, work_factor=FAST),
        lambda: SealingKey.generate().save_env_file(path),
    ):
        with pytest.raises(SealError, match="choose another name"):
            attempt()
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["key.json"]


def test_save__folder_missing__seal_error(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="create the folder"):
        SealingKey.generate().save(tmp_path / "no" / "key.json", PASSWORD, work_factor=FAST)


def test_save__disk_fails_midway__nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SealError, match="No space left"):
        saved(tmp_path)
    assert os.listdir(tmp_path) == []


def test_save__empty_password__refused(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="password: must not be empty"):
        SealingKey.generate().save(tmp_path / "key.json", "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("work_factor", [0, 1, 3, -2, 2**21])
def test_save__bad_work_factor__refused(tmp_path: Path, work_factor: int) -> None:
    with pytest.raises(SealError, match="power of two"):
        SealingKey.generate().save(tmp_path / "key.json", PASSWORD, work_factor=work_factor)


def test_save__secret_no_keystore_can_hold__seal_error(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="generate another"):
        saved(tmp_path, secret=b"\xff" * 32)


def test_load__wrong_password__says_so(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="wrong password.*restore"):
        SealingKey.load(saved(tmp_path), "correct horse")


def test_load__missing_file__seal_error(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="no such file"):
        SealingKey.load(tmp_path / "key.json", PASSWORD)


def test_load__folder_fifo_or_nul_in_name__seal_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "a\0b"):
        with pytest.raises(SealError):
            SealingKey.load(path, PASSWORD)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"version": 3}',
        b'{"version": 4, "crypto": {}}',
        b"[" * 50_000,
    ],
)
def test_load__not_a_keystore__seal_error_with_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    with pytest.raises(SealError) as caught:
        SealingKey.load(path, PASSWORD)
    assert caught.value.remedy and caught.value.field == str(path)


def test_load__huge_file__refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(b" " * 70_000)
    with pytest.raises(SealError, match="no key file"):
        SealingKey.load(path, PASSWORD)


def test_load__wallet_keystore__refused(tmp_path: Path) -> None:
    path = tmp_path / "wallet.json"
    keystore = eth_keyfile.create_keyfile_json(SECRET, PASSWORD.encode(), kdf="scrypt", iterations=FAST)
    path.write_text(json.dumps(keystore))
    with pytest.raises(SealError, match="account's key, not a sealing key"):
        SealingKey.load(path, PASSWORD)


@pytest.mark.parametrize(
    "mark", [None, {}, {"type": "qscrow.sealing-key"}, {"type": "qscrow.sealing-key", "public": "0x12"}]
)
def test_load__no_public_key_named__refused(tmp_path: Path, mark: Any) -> None:
    path = saved(tmp_path)
    rewrite(path, qscrow=mark)
    with pytest.raises(SealError):
        SealingKey.load(path, PASSWORD)


def test_load__other_type_of_file_with_a_public_key__refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    mark = json.loads(path.read_text())["qscrow"]
    rewrite(path, qscrow={**mark, "type": "qscrow.other"})
    with pytest.raises(SealError, match="not a sealing key"):
        SealingKey.load(path, PASSWORD)


def damage(name: str, value: Any) -> Any:
    def apply(crypto: dict[str, Any]) -> None:
        *parents, last = name.split(".")
        for parent in parents:
            crypto = crypto[parent]
        if value is None:
            del crypto[last]
        else:
            crypto[last] = value

    return pytest.param(apply, id=f"{name}={value!r}")


@pytest.mark.parametrize(
    "apply",
    [
        damage("kdf", "argon2"),
        damage("kdf", None),
        damage("kdfparams", None),
        damage("kdfparams", 5),
        damage("kdfparams.n", 3),
        damage("kdfparams.n", "2"),
        damage("kdfparams.n", 0),
        damage("kdfparams.n", 2**40),
        damage("kdfparams.r", True),
        damage("kdfparams.dklen", "x"),
        damage("kdfparams.dklen", None),
        damage("kdfparams.salt", "zz"),
        damage("ciphertext", "zz"),
        damage("ciphertext", 12),
        damage("ciphertext", None),
        damage("cipherparams", None),
        damage("cipherparams.iv", "00" * 16),
        damage("mac", None),
        damage("mac", "00" * 32),
    ],
)
def test_load__damaged_keystore__seal_error_and_no_wrong_key(tmp_path: Path, apply: Any) -> None:
    path = saved(tmp_path)
    crypto = json.loads(path.read_text())["crypto"]
    apply(crypto)
    rewrite(path, crypto=crypto)
    with pytest.raises(SealError, match="damaged") as caught:
        SealingKey.load(path, PASSWORD)
    assert caught.value.remedy


def test_load__pbkdf2_with_absurd_rounds__refused_before_any_work(tmp_path: Path) -> None:
    path = saved(tmp_path)
    crypto = json.loads(path.read_text())["crypto"]
    rewrite(
        path,
        crypto={
            **crypto,
            "kdf": "pbkdf2",
            "kdfparams": {"c": 2**60, "dklen": 32, "prf": "hmac-sha256", "salt": ""},
        },
    )
    with pytest.raises(SealError, match="more work than any real keystore"):
        SealingKey.load(path, PASSWORD)


def test_load__pbkdf2_keystore__accepted(tmp_path: Path) -> None:
    path = saved(tmp_path)
    other = eth_keyfile.create_keyfile_json(SECRET, PASSWORD.encode(), kdf="pbkdf2", iterations=2)
    rewrite(path, crypto=other["crypto"])
    assert raw(SealingKey.load(path, PASSWORD)) == SECRET


# --- environment files ------------------------------------------------------------------


def env_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "oracle.env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_save_env_file__then_load__same_key_and_private(tmp_path: Path) -> None:
    path = tmp_path / "oracle.env"
    SealingKey.from_bytes(SECRET).save_env_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert raw(SealingKey.load_from_env_file(path)) == SECRET


@pytest.mark.parametrize(
    "line",
    [
        "{name}=0x{key}",
        "export {name}=0x{key}",
        '{name}="0x{key}"',
        "  {name} = '0x{key}'  ",
        "A=1\r\n{name}=0x{key}\r\n",
    ],
)
def test_load_from_env_file__usual_spellings__accepted(tmp_path: Path, line: str) -> None:
    text = "# a comment\n#QSCROW_SEALING_KEY=0x00\nOTHER=1\n" + line.format(name="QSCROW_SEALING_KEY", key=SECRET.hex())
    assert raw(SealingKey.load_from_env_file(env_file(tmp_path, text))) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o610])
def test_load_from_env_file__others_have_access__chmod_remedy(tmp_path: Path, mode: int) -> None:
    path = env_file(tmp_path, f"QSCROW_SEALING_KEY=0x{SECRET.hex()}\n", mode)
    with pytest.raises(SealError, match=f"run chmod 600 {path}"):
        SealingKey.load_from_env_file(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not set"),
        ("OTHER=1\n", "is not set"),
        ("QSCROW_SEALING_KEY\n", "is not set"),
        ("QSCROW_SEALING_KEY=\n", "is not a key"),
        (f"QSCROW_SEALING_KEY={SECRET.hex()}\n", "is not a key"),
        (f"QSCROW_SEALING_KEY=0x{SECRET.hex()}00\n", "is not a key"),
        (f"QSCROW_SEALING_KEY='0x{SECRET.hex()}\n", "is not a key"),
        (f"QSCROW_SEALING_KEY=0x{SECRET.hex()}\n" * 2, "is set 2 times"),
        (f"QSCROW_SEALING_KEY=0x{'00' * 32}\n", "not all zero"),
    ],
)
def test_load_from_env_file__no_single_key__seal_error_without_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SealError, match=message) as caught:
        SealingKey.load_from_env_file(env_file(tmp_path, text))
    assert SECRET.hex() not in str(caught.value) + repr(caught.value) + json.dumps(caught.value.as_dict())


def test_load_from_env_file__binary_file__seal_error(tmp_path: Path) -> None:
    path = env_file(tmp_path, "")
    path.write_bytes(b"\xff\x00")
    with pytest.raises(SealError, match="not a text file"):
        SealingKey.load_from_env_file(path)
