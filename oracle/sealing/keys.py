"""Private keys that open sealed documents, and the files they are kept in.

A requester or an oracle has one :class:`SealingKey`. Per-job keys and the post-quantum
:class:`HybridKey` are derived from it, so one backup restores them all. No key can be
printed, formatted or pickled by accident; it leaves the process only through
:meth:`SealingKey.save` and :meth:`SealingKey.save_env_file`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import SealError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
    from nacl.public import PrivateKey

ENV_NAME = "QSCROW_SEALING_KEY"
MAX_KEYSTORE_DEPTH = 8
SCRYPT_WORK_FACTOR = 2**18
"""Default scrypt N (with r = 8, p = 1): 256 MiB and about a second per attempt."""

_JOB_KEY_LABEL = b"qscrow/sealing-key/1|"
_HYBRID_LABEL = b"qscrow/xwing-seed/1"
_KEYSTORE_TYPE = "qscrow.sealing-key"
_MAX_FILE = 64 * 1024
# A file must not make scrypt or PBKDF2 eat the machine: 1 GiB of memory, ten million rounds.
_MAX_SCRYPT_MEMORY = 2**30
_MAX_PBKDF2_ROUNDS = 10_000_000
_HEX_KEY = re.compile(r"0x[0-9a-fA-F]{64}")


class _Secret:
    """Holds 32 secret bytes and keeps them out of ``repr``, ``str``, ``vars`` and pickles."""

    __slots__ = ("_secret", "_public")

    def __init__(self, secret: bytes, public: bytes):
        self._secret = secret
        self._public = public

    @property
    def public(self) -> bytes:
        """The public key."""
        return self._public

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id={key_id(self.public)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Secret) and type(other) is type(self) and other.public == self.public

    def __hash__(self) -> int:
        return hash((type(self), self.public))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise SealError("a private key is not copied or pickled", remedy="store it with save()")


class SealingKey(_Secret):
    """An X25519 private key; opens ``nacl`` and ``hpke`` capsules. ``public`` is 32 bytes."""

    __slots__ = ()
    schemes = ("nacl", "hpke")

    @classmethod
    def generate(cls) -> SealingKey:
        """A new random key from the operating system."""
        return cls.from_bytes(secrets.token_bytes(32))

    @classmethod
    def from_bytes(cls, secret: bytes) -> SealingKey:
        """The key with these 32 secret bytes (RFC 7748 form; clamping happens in use).

        Raises :class:`SealError` for any other length or all-zero bytes.
        """
        secret = _check_secret(secret)
        from nacl.public import PrivateKey

        return cls(secret, bytes(PrivateKey(secret).public_key))

    def for_spec(self, spec_digest: bytes) -> SealingKey:
        """The key of the job whose spec has this 32-byte digest.

        HKDF-SHA256 (RFC 5869) of this key's 32 bytes, no salt, info
        ``qscrow/sealing-key/1|`` followed by the digest. Whoever keeps the master key can
        derive every job's key again, so a job key needs no storage and cannot be lost.
        Jobs with the same spec share a key.
        """
        if not isinstance(spec_digest, bytes) or len(spec_digest) != 32:
            raise SealError("must be the spec's 32-byte digest", field="spec_digest")
        return SealingKey.from_bytes(hkdf(self._secret, salt=None, info=_JOB_KEY_LABEL + spec_digest))

    def hybrid(self) -> HybridKey:
        """The post-quantum key that belongs to this one (HKDF, info ``qscrow/xwing-seed/1``)."""
        return HybridKey.from_bytes(hkdf(self._secret, salt=None, info=_HYBRID_LABEL))

    def as_nacl(self) -> PrivateKey:
        """The key as PyNaCl's type, for ``crypto_box``. Its ``str()`` is the secret: never log it."""
        from nacl.public import PrivateKey

        return PrivateKey(self._secret)

    def as_x25519(self) -> X25519PrivateKey:
        """The key as ``cryptography``'s type, for HPKE."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return X25519PrivateKey.from_private_bytes(self._secret)

    def save(self, path: str | Path, password: str, *, work_factor: int = SCRYPT_WORK_FACTOR) -> None:
        """Write a keystore-v3 file (scrypt, AES-128-CTR), mode 0600, whole or not at all.

        ``work_factor`` is scrypt's N, a power of two. The file carries no Ethereum address
        (the key is no wallet) but the X25519 public key, which :meth:`load` checks.
        Raises :class:`SealError` if ``path`` exists or cannot be written.
        """
        if not password:
            raise SealError("must not be empty", field="password")
        if work_factor < 2 or work_factor & (work_factor - 1) or work_factor * 1024 > _MAX_SCRYPT_MEMORY:
            raise SealError("must be a power of two from 2 to 2^20", field="work_factor")
        from eth_keyfile.keyfile import create_keyfile_json

        try:
            keystore = create_keyfile_json(self._secret, password.encode(), kdf="scrypt", iterations=work_factor)
        except ValueError:
            # The library also wants a valid secp256k1 scalar; 2^-128 of random keys are none.
            raise SealError("this key cannot be kept in a keystore", remedy="generate another") from None
        del keystore["address"]
        keystore["qscrow"] = {"type": _KEYSTORE_TYPE, "public": "0x" + self.public.hex()}
        _write_new(Path(path), json.dumps(keystore, indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: str | Path, password: str) -> SealingKey:
        """Read a file written by :meth:`save`.

        Raises :class:`SealError` when the file is missing, not such a keystore, damaged,
        or the password is wrong. A wallet's keystore is refused: an account key must not
        double as an encryption key.
        """
        keystore, public = _parse_keystore(_read(Path(path)), str(path))
        key = cls.from_bytes(_decrypt_keystore(keystore, password, str(path)))
        if key.public != public:
            raise _damaged(str(path), "its key does not belong to the public key it names")
        return key

    def save_env_file(self, path: str | Path) -> None:
        """Write ``QSCROW_SEALING_KEY=0x…`` to a new file, mode 0600. The key is not encrypted there."""
        _write_new(Path(path), f"{ENV_NAME}=0x{self._secret.hex()}\n".encode())

    @classmethod
    def load_from_env_file(cls, path: str | Path) -> SealingKey:
        """Read ``QSCROW_SEALING_KEY`` from an environment file; other variables are ignored.

        Lines are ``NAME=value``, optionally ``export``-ed or quoted; ``#`` starts a comment
        line. Raises :class:`SealError` when others may read the file, or the variable is
        missing, given twice or not ``0x`` and 64 hex digits.
        """
        text = _decode(_read(Path(path), private=True), str(path))
        values = list(_assignments(text))
        if len(values) != 1:
            problem = "is not set" if not values else f"is set {len(values)} times"
            raise SealError(f"{ENV_NAME} {problem}", field=str(path), remedy=f"give one line {ENV_NAME}=0x…")
        if not _HEX_KEY.fullmatch(values[0]):
            raise SealError(f"{ENV_NAME} is not a key", field=str(path), remedy="give 0x and 64 hex digits")
        return cls.from_bytes(bytes.fromhex(values[0][2:]))


class HybridKey(_Secret):
    """An X-Wing private key (ML-KEM-768 with X25519); opens ``xwing`` capsules.

    Kept as its 32-byte seed. ``public`` is 1216 bytes: the ML-KEM-768 encapsulation key
    (1184) followed by the X25519 public key (32). Usually made by :meth:`SealingKey.hybrid`.
    """

    __slots__ = ()
    schemes = ("xwing",)

    @classmethod
    def generate(cls) -> HybridKey:
        """A new random key from the operating system."""
        return cls.from_bytes(secrets.token_bytes(32))

    @classmethod
    def from_bytes(cls, seed: bytes) -> HybridKey:
        """The key of this 32-byte seed, expanded as draft-connolly-cfrg-xwing-kem says.

        Raises :class:`SealError` for any other length or all-zero bytes.
        """
        seed = _check_secret(seed)
        mlkem, x25519 = _expand_xwing(seed)
        return cls(seed, mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def as_hpke(self) -> MLKEM768X25519PrivateKey:
        """The key as ``cryptography``'s HPKE type."""
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

        return MLKEM768X25519PrivateKey(*_expand_xwing(self._secret))


def key_id(public: bytes) -> str:
    """How a document names a recipient: a 32-byte public key in hex, a longer one's sha-256 in hex.

    For X25519 this is the very value a job carries as ``sealTo``.
    """
    return (public if len(public) == 32 else hashlib.sha256(public).digest()).hex()


def hkdf(key: bytes, *, salt: bytes | None, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def _check_secret(secret: bytes) -> bytes:
    if not isinstance(secret, (bytes, bytearray)) or len(secret) != 32 or not any(secret):
        raise SealError("must be 32 secret bytes, not all zero", field="key")
    return bytes(secret)


def _expand_xwing(seed: bytes) -> tuple[Any, X25519PrivateKey]:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    expanded = hashlib.shake_256(seed).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


def _parse_keystore(raw: bytes, path: str) -> tuple[dict[str, Any], bytes]:
    """The keystore object and the public key it names, checked before any costly work."""
    if is_deeper(raw, MAX_KEYSTORE_DEPTH):
        raise _not_keystore(path)
    try:
        keystore = json.loads(_decode(raw, path))
    except (ValueError, RecursionError):
        raise _not_keystore(path) from None
    if not isinstance(keystore, dict) or keystore.get("version") != 3 or "crypto" not in keystore:
        raise _not_keystore(path)
    mark = keystore.get("qscrow")
    if not isinstance(mark, dict) or mark.get("type") != _KEYSTORE_TYPE:
        raise SealError(
            "this keystore holds an account's key, not a sealing key",
            field=path,
            remedy="make a sealing key of its own and load that file",
        )
    public = mark.get("public")
    if not isinstance(public, str) or not _HEX_KEY.fullmatch(public):
        raise _damaged(path, "it names no public key")
    _check_work(keystore["crypto"], path)
    return keystore, bytes.fromhex(public[2:])


def _check_work(crypto: Any, path: str) -> None:
    try:
        params = crypto["kdfparams"]
        scrypt = crypto["kdf"] == "scrypt"
        numbers = [params[name] for name in (("n", "r", "p") if scrypt else ("c",))]
    except (KeyError, TypeError):
        raise _damaged(path, "its key derivation is incomplete") from None
    if not all(type(number) is int and number > 0 for number in numbers):
        raise _damaged(path, "its key derivation is not in positive integers")
    fits = 128 * math.prod(numbers) <= _MAX_SCRYPT_MEMORY if scrypt else numbers[0] <= _MAX_PBKDF2_ROUNDS
    if not fits:
        raise _damaged(path, "its key derivation asks for more work than any real keystore")


def _decrypt_keystore(keystore: dict[str, Any], password: str, path: str) -> bytes:
    from eth_keyfile.keyfile import decode_keyfile_json

    try:
        secret = decode_keyfile_json(keystore, password.encode())
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise SealError(
                "wrong password, or the file is damaged",
                field=path,
                remedy="try the password again or restore the file from a backup",
            ) from None
        raise _damaged(path, "its fields are malformed") from None
    except Exception:
        # The library checks nothing: a damaged field surfaces as whatever its use happens to raise.
        raise _damaged(path, "its fields are malformed") from None
    if len(secret) != 32:
        raise _damaged(path, "its key is not 32 bytes")
    return secret


def _assignments(text: str) -> Iterator[str]:
    """Every value given to ``QSCROW_SEALING_KEY`` in an environment file."""
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip() == ENV_NAME:
            value = value.strip()
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            yield value[1:-1] if quoted else value


def _read(path: Path, *, private: bool = False) -> bytes:
    """The bytes of a small regular file; ``private`` also demands that only its owner may read it."""
    with _file_errors(path):
        # Non-blocking, so that a FIFO given by mistake is refused instead of waited on.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            # The opened file is asked, not the name: the name may point elsewhere a moment later.
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SealError("not a regular file", field=str(path))
            if private and mode & 0o077:
                raise SealError(
                    "other users of this machine may read this file",
                    field=str(path),
                    remedy=f"run chmod 600 {path}",
                )
            data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise SealError(f"larger than {_MAX_FILE} bytes, so no key file", field=str(path))
    return data


def _write_new(path: Path, data: bytes) -> None:
    """Create ``path`` with ``data``, mode 0600. A crash leaves no half file; an existing file stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _file_errors(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # link() fails if the name exists, which rename() would silently replace.
            os.link(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise SealError(
            "a file of this name exists and may hold a key",
            field=str(path),
            remedy="choose another name, or move that file away first",
        ) from None
    except FileNotFoundError:
        raise SealError(
            "no such file or folder", field=str(path), remedy="check the path or create the folder"
        ) from None
    except PermissionError:
        raise SealError("no permission", field=str(path), remedy="check the owner and mode of the path") from None
    except OSError as error:
        raise SealError(f"cannot be used: {error.strerror or 'input/output error'}", field=str(path)) from None
    except ValueError:
        raise SealError("not a file name", field=ascii(str(path))) from None


def _decode(raw: bytes, path: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise SealError("not a text file", field=path, remedy="give the file that holds the key") from None


def _not_keystore(path: str) -> SealError:
    return SealError("not a keystore-v3 file", field=path, remedy="give the file that save() wrote")


def _damaged(path: str, why: str) -> SealError:
    return SealError(f"the keystore is damaged: {why}", field=path, remedy="restore the file from a backup")
