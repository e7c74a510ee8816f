from __future__ import annotations

import base64
import hashlib
from typing import Any

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import Box, PublicKey

from oracle.jobs.errors import SealError
from oracle.sealing.capsules import SCHEMES, Capsule, Recipient, to_metamask, unwrap, wrap
from oracle.sealing.context import SealContext
from oracle.sealing.keys import HybridKey, SealingKey

CONTENT_KEY = bytes(range(100, 132))
CLASSIC = SealingKey.from_bytes(b"\x07" * 32)
HYBRID = CLASSIC.hybrid()
KEYS: dict[str, SealingKey | HybridKey] = {"nacl": CLASSIC, "hpke": CLASSIC, "xwing": HYBRID}
CONTEXT = SealContext("result", 1, "0x" + "c0" * 20, 7, b"\x11" * 32, "0x" + "a1" * 20)
OTHER_CONTEXTS = [
    SealContext("result", 5, "0x" + "c0" * 20, 7, b"\x11" * 32, "0x" + "a1" * 20),
    SealContext("result", 1, "0x" + "c1" * 20, 7, b"\x11" * 32, "0x" + "a1" * 20),
    SealContext("result", 1, "0x" + "c0" * 20, 8, b"\x11" * 32, "0x" + "a1" * 20),
    SealContext("result", 1, "0x" + "c0" * 20, 7, b"\x12" * 32, "0x" + "a1" * 20),
    SealContext("result", 1, "0x" + "c0" * 20, 7, b"\x11" * 32, "0x" + "a2" * 20),
    SealContext.for_circuit(chain_id=1, contract="0x" + "c0" * 20, party="0x" + "a1" * 20),
]


def recipient(scheme: str) -> Recipient:
    return Recipient(scheme, KEYS[scheme].public)


def capsule(scheme: str) -> Capsule:
    return wrap(CONTENT_KEY, recipient(scheme), CONTEXT)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unwrap__own_capsule__content_key_comes_back(scheme: str) -> None:
    made = capsule(scheme)
    assert unwrap(made, KEYS[scheme], CONTEXT) == CONTENT_KEY
    assert made.wrapped != capsule(scheme).wrapped
    assert CONTENT_KEY not in made.wrapped


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("other", OTHER_CONTEXTS)
def test_unwrap__any_other_context__refused(scheme: str, other: SealContext) -> None:
    with pytest.raises(SealError, match="job"):
        unwrap(capsule(scheme), KEYS[scheme], other)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unwrap__other_key_of_the_same_kind__names_the_right_key(scheme: str) -> None:
    stranger = type(KEYS[scheme]).generate()
    with pytest.raises(SealError, match=f"this capsule is for key {recipient(scheme).key_id}"):
        unwrap(capsule(scheme), stranger, CONTEXT)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unwrap__readdressed_to_another_key__does_not_open(scheme: str) -> None:
    stranger = type(KEYS[scheme]).generate()
    forged = Capsule(scheme, Recipient(scheme, stranger.public).key_id, capsule(scheme).wrapped)
    with pytest.raises(SealError, match="does not open"):
        unwrap(forged, stranger, CONTEXT)


@pytest.mark.parametrize(("scheme", "key"), [("nacl", HYBRID), ("hpke", HYBRID), ("xwing", CLASSIC)])
def test_unwrap__wrong_kind_of_key__says_which_to_use(scheme: str, key: Any) -> None:
    with pytest.raises(SealError, match=f"use a key for {scheme}"):
        unwrap(capsule(scheme), key, CONTEXT)


@pytest.mark.parametrize(("made", "claimed"), [("nacl", "hpke"), ("hpke", "nacl")])
def test_capsule__relabelled_with_other_scheme__wrong_length(made: str, claimed: str) -> None:
    original = capsule(made)
    with pytest.raises(SealError, match="truncated or altered"):
        Capsule(claimed, original.to, original.wrapped)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SCHEMES)), st.data())
def test_unwrap__any_byte_flipped__refused(scheme: str, data: st.DataObject) -> None:
    wrapped = bytearray(capsule(scheme).wrapped)
    position = data.draw(st.integers(0, len(wrapped) - 1))
    wrapped[position] ^= data.draw(st.integers(1, 255))
    altered = Capsule(scheme, recipient(scheme).key_id, bytes(wrapped))
    with pytest.raises(SealError, match="does not open"):
        unwrap(altered, KEYS[scheme], CONTEXT)


@pytest.mark.parametrize(("scheme", "size"), [("nacl", 136), ("hpke", 80), ("xwing", 1168)])
def test_wrap__each_scheme__documented_size(scheme: str, size: int) -> None:
    assert len(capsule(scheme).wrapped) == size == SCHEMES[scheme].wrapped_size


def test_wrap__content_key_of_other_size__refused() -> None:
    with pytest.raises(SealError, match="32 bytes"):
        wrap(b"\x01" * 31, recipient("nacl"), CONTEXT)


@pytest.mark.parametrize(
    ("scheme", "public"),
    [
        ("nacl", bytes(32)),
        ("hpke", bytes(32)),
        ("nacl", b"\x01" + bytes(31)),
        ("xwing", HYBRID.public[:1184] + bytes(32)),
        ("xwing", b"\xff" * 1216),
    ],
)
def test_wrap__weak_or_invalid_public_key__refused(scheme: str, public: bytes) -> None:
    with pytest.raises(SealError, match="not usable"):
        wrap(CONTENT_KEY, Recipient(scheme, public), CONTEXT)


@pytest.mark.parametrize(
    ("scheme", "public"),
    [
        ("nacl", b"\x01" * 31),
        ("hpke", b"\x01" * 33),
        ("xwing", CLASSIC.public),
        ("nacl", HYBRID.public),
        ("nacl", "x"),
    ],
)
def test_recipient__wrong_public_key_size__refused(scheme: str, public: Any) -> None:
    with pytest.raises(SealError, match="needs a public key"):
        Recipient(scheme, public)


@pytest.mark.parametrize("scheme", ["", "rsa", None, ["nacl"], "NACL"])
def test_recipient__unknown_scheme__lists_the_known(scheme: Any) -> None:
    with pytest.raises(SealError, match="known are nacl, hpke, xwing"):
        Recipient(scheme, CLASSIC.public)


# --- interop ----------------------------------------------------------------------------


def documented_content() -> bytes:
    """What docs/sealing.md says a nacl capsule holds, built without the code under test."""
    context = (
        b'{"chain_id":"1","contract":"0x' + b"c0" * 20 + b'","job_id":"7","party":"0x' + b"a1" * 20
        + b'","purpose":"result","spec":"0x' + b"11" * 32 + b'"}'
    )  # fmt: skip
    return base64.b64encode(CONTENT_KEY + hashlib.sha256(context + CLASSIC.public).digest())


def test_wrap__nacl__opens_with_raw_libsodium() -> None:
    opened = nacl.bindings.crypto_box_seal_open(capsule("nacl").wrapped, CLASSIC.public, b"\x07" * 32)
    assert opened == documented_content()


def test_unwrap__sealed_by_raw_libsodium__accepted() -> None:
    sealed = nacl.bindings.crypto_box_seal(documented_content(), CLASSIC.public)
    assert unwrap(Capsule("nacl", CLASSIC.public.hex(), sealed), CLASSIC, CONTEXT) == CONTENT_KEY


def test_unwrap__box_holds_something_else__seal_error() -> None:
    for content in (b"!" * 88, base64.b64encode(bytes(64)), b"A" * 87 + b"="):
        sealed = nacl.bindings.crypto_box_seal(content, CLASSIC.public)
        with pytest.raises(SealError):
            unwrap(Capsule("nacl", CLASSIC.public.hex(), sealed), CLASSIC, CONTEXT)


def test_to_metamask__nacl_capsule__opens_with_a_plain_box() -> None:
    envelope = to_metamask(capsule("nacl"))
    assert sorted(envelope) == ["ciphertext", "ephemPublicKey", "nonce", "version"]
    assert envelope["version"] == "x25519-xsalsa20-poly1305"
    nonce, ephemeral, ciphertext = (
        base64.b64decode(envelope[name]) for name in ("nonce", "ephemPublicKey", "ciphertext")
    )
    opened = Box(CLASSIC.as_nacl(), PublicKey(ephemeral)).decrypt(ciphertext, nonce)
    assert opened == documented_content()
    opened.decode("ascii")  # eth_decrypt returns text only


def test_to_metamask__nacl_capsule__nothing_is_lost() -> None:
    made = capsule("nacl")
    envelope = to_metamask(made)
    back = base64.b64decode(envelope["ephemPublicKey"]) + base64.b64decode(envelope["ciphertext"])
    assert back == made.wrapped


@pytest.mark.parametrize("scheme", ["hpke", "xwing"])
def test_to_metamask__other_scheme__refused(scheme: str) -> None:
    with pytest.raises(SealError, match="no MetaMask form"):
        to_metamask(capsule(scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_repr__capsule_and_recipient__show_no_key_bytes(scheme: str) -> None:
    for text in (repr(capsule(scheme)), repr(recipient(scheme))):
        assert (b"\x07" * 32).hex() not in text and CONTENT_KEY.hex() not in text
        assert len(text) < 200
