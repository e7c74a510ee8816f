"""Capsules: the 32-byte content key of a document, wrapped for one recipient.

Three schemes, one registry. Every capsule is bound to the document's context, so it
opens for that job alone:

- ``nacl``: a libsodium sealed box. It has no associated data, so the box holds the
  content key together with a digest of context and recipient, which opening checks. The
  content is base64 text, because MetaMask's ``eth_decrypt`` only returns text.
- ``hpke``: RFC 9180 base mode, X25519 / HKDF-SHA256 / ChaCha20-Poly1305, context in ``info``.
- ``xwing``: the same with the X-Wing KEM (ML-KEM-768 with X25519), safe against a later
  quantum computer as long as either half holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oracle.jobs.errors import SealError
from oracle.sealing.context import SealContext
from oracle.sealing.keys import HybridKey, SealingKey, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

CONTENT_KEY_SIZE = 32
METAMASK_VERSION = "x25519-xsalsa20-poly1305"

_INFO_LABEL = b"qscrow/capsule/1|"
_X25519_SIZE = 32
_MLKEM768_SIZE = 1184


@dataclass(frozen=True)
class Recipient:
    """A public key a document is sealed to, and the scheme to use with it.

    ``public`` is 32 bytes (X25519) for ``nacl`` and ``hpke``, 1216 for ``xwing``.
    Raises :class:`SealError` for an unknown scheme or a wrong length.
    """

    scheme: str
    public: bytes = field(repr=False)

    def __post_init__(self) -> None:
        scheme = get_scheme(self.scheme)
        if not isinstance(self.public, bytes) or len(self.public) != scheme.public_size:
            raise SealError(
                f"a {self.scheme} recipient needs a public key of {scheme.public_size} bytes",
                field="recipients",
            )

    @property
    def key_id(self) -> str:
        """The recipient's name in the document, see :func:`oracle.sealing.keys.key_id`."""
        return key_id(self.public)


@dataclass(frozen=True)
class Capsule:
    """A wrapped content key: scheme, recipient's key id (64 hex digits) and the wrapped bytes.

    Raises :class:`SealError` for an unknown scheme or a length the scheme never produces.
    """

    scheme: str
    to: str
    wrapped: bytes = field(repr=False)

    def __post_init__(self) -> None:
        expected = get_scheme(self.scheme).wrapped_size
        if len(self.wrapped) != expected:
            raise SealError(
                f"a {self.scheme} capsule of {len(self.wrapped)} bytes, not {expected}: truncated or altered",
                field="capsules",
            )


@dataclass(frozen=True)
class Scheme:
    """One way to wrap a content key; sizes in bytes."""

    name: str
    public_size: int
    wrapped_size: int
    wrap: Callable[[bytes, bytes, SealContext], bytes]
    # Called with the kind of key whose ``schemes`` list this one.
    unwrap: Callable[[bytes, Any, SealContext], bytes]


def wrap(content_key: bytes, recipient: Recipient, context: SealContext) -> Capsule:
    """Wrap a 32-byte content key for ``recipient``, bound to ``context``.

    Raises :class:`SealError` when the recipient's public key is not a usable point.
    """
    if len(content_key) != CONTENT_KEY_SIZE:
        raise SealError(f"a content key has {CONTENT_KEY_SIZE} bytes", field="content_key")
    wrapped = get_scheme(recipient.scheme).wrap(content_key, recipient.public, context)
    return Capsule(recipient.scheme, recipient.key_id, wrapped)


def unwrap(capsule: Capsule, key: SealingKey | HybridKey, context: SealContext) -> bytes:
    """The content key in ``capsule``.

    Raises :class:`SealError` when the capsule is for another key, was made for another
    context or was altered.
    """
    if capsule.scheme not in key.schemes:
        raise SealError(
            f"a {capsule.scheme} capsule does not open with this kind of key",
            field="capsules",
            remedy=f"use a key for {capsule.scheme}",
        )
    if capsule.to != key_id(key.public):
        raise SealError(f"this capsule is for key {capsule.to}", field="capsules", remedy="open it with that key")
    return get_scheme(capsule.scheme).unwrap(capsule.wrapped, key, context)


def to_metamask(capsule: Capsule) -> dict[str, str]:
    """A ``nacl`` capsule as MetaMask's ``eth_decrypt`` envelope; nothing is encrypted again.

    A sealed box is ``ephemeral key (32) ‖ box``, its nonce blake2b-24 of ephemeral and
    recipient key (libsodium, ``crypto_box_seal``); MetaMask spells the three out in base64.
    Decrypting yields the base64 text described in ``docs/sealing.md``. Raises
    :class:`SealError` for other schemes.
    """
    if capsule.scheme != "nacl":
        raise SealError(
            f"a {capsule.scheme} capsule has no MetaMask form",
            field="capsules",
            remedy="seal with scheme nacl",
        )
    ephemeral, box = capsule.wrapped[:_X25519_SIZE], capsule.wrapped[_X25519_SIZE:]
    nonce = hashlib.blake2b(ephemeral + bytes.fromhex(capsule.to), digest_size=24).digest()
    return {
        "version": METAMASK_VERSION,
        "nonce": _b64(nonce),
        "ephemPublicKey": _b64(ephemeral),
        "ciphertext": _b64(box),
    }


def get_scheme(name: object) -> Scheme:
    """The scheme of this name; :class:`SealError` listing the known ones if there is none."""
    scheme = SCHEMES.get(name) if isinstance(name, str) else None
    if scheme is None:
        raise SealError(
            f"unknown scheme {ascii(name)[:40]}", field="capsules", remedy=f"known are {', '.join(SCHEMES)}"
        )
    return scheme


def _wrap_nacl(content_key: bytes, public: bytes, context: SealContext) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.public import PublicKey, SealedBox

    text = base64.b64encode(content_key + _nacl_binding(public, context))
    try:
        return bytes(SealedBox(PublicKey(public)).encrypt(text))
    except CryptoError:
        raise _weak_recipient() from None


def _unwrap_nacl(wrapped: bytes, key: SealingKey, context: SealContext) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.public import SealedBox

    try:
        content = base64.b64decode(SealedBox(key.as_nacl()).decrypt(wrapped), validate=True)
    except CryptoError:
        raise _altered("nacl") from None
    except binascii.Error:
        raise SealError("the sealed box does not hold a content key", field="capsules") from None
    content_key, binding = content[:CONTENT_KEY_SIZE], content[CONTENT_KEY_SIZE:]
    if not hmac.compare_digest(binding, _nacl_binding(key.public, context)):
        raise SealError(
            "this capsule was made for another job or another recipient and copied here",
            field="capsules",
            remedy="fetch the document from the digest on chain",
        )
    return content_key


def _nacl_binding(public: bytes, context: SealContext) -> bytes:
    return hashlib.sha256(context.canonical() + public).digest()


def _wrap_hpke(content_key: bytes, public: bytes, context: SealContext) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        return _suite("X25519").encrypt(content_key, X25519PublicKey.from_public_bytes(public), info=_info(context))
    except ValueError:
        raise _weak_recipient() from None


def _unwrap_hpke(wrapped: bytes, key: SealingKey, context: SealContext) -> bytes:
    return _hpke_open("hpke", _suite("X25519"), wrapped, key.as_x25519(), context)


def _wrap_xwing(content_key: bytes, public: bytes, context: SealContext) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM768_SIZE]),
            X25519PublicKey.from_public_bytes(public[_MLKEM768_SIZE:]),
        )
        return _suite("MLKEM768_X25519").encrypt(content_key, key, info=_info(context))
    except ValueError:
        raise _weak_recipient() from None


def _unwrap_xwing(wrapped: bytes, key: HybridKey, context: SealContext) -> bytes:
    return _hpke_open("xwing", _suite("MLKEM768_X25519"), wrapped, key.as_hpke(), context)


def _hpke_open(scheme: str, suite: Suite, wrapped: bytes, private: Any, context: SealContext) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return suite.decrypt(wrapped, private, info=_info(context))
    except (InvalidTag, ValueError):
        raise _altered(scheme) from None


def _suite(kem: str) -> Suite:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(getattr(KEM, kem), KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _info(context: SealContext) -> bytes:
    return _INFO_LABEL + context.canonical()


def _weak_recipient() -> SealError:
    return SealError("the recipient's public key is not usable", field="recipients", remedy="ask for the key again")


def _altered(scheme: str) -> SealError:
    return SealError(
        f"the {scheme} capsule for this key does not open: it was altered, or made for another key or job",
        field="capsules",
        remedy="fetch the document from the digest on chain",
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        # 48 bytes of sealed box around 88 characters of base64.
        Scheme("nacl", _X25519_SIZE, 48 + 88, _wrap_nacl, _unwrap_nacl),
        # The KEM's ciphertext, the key and a 16-byte tag.
        Scheme("hpke", _X25519_SIZE, 32 + CONTENT_KEY_SIZE + 16, _wrap_hpke, _unwrap_hpke),
        Scheme("xwing", _MLKEM768_SIZE + _X25519_SIZE, 1120 + CONTENT_KEY_SIZE + 16, _wrap_xwing, _unwrap_xwing),
    )
}
