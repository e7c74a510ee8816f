from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.content.cid import CID, DAG_PB, RAW, ipfs_uri, read_varint, varint
from oracle.jobs.errors import ContentError

DATA = b"hello world"
DIGEST = hashlib.sha256(DATA).digest()
BASE16 = "f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"  # what sha256sum says
BASE32 = str(CID.of(DATA))


def base58(data: bytes) -> str:
    """An independent encoder: repeated division, digit by digit."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    digits, number = [], int.from_bytes(data, "big")
    while number:
        digits.append(alphabet[number % 58])
        number //= 58
    return "".join(reversed(digits))


def test_of__known_bytes__is_their_hash_behind_a_fixed_prefix():
    assert CID.of(DATA) == CID.parse(BASE16)
    assert BASE32.startswith("bafkrei")


@pytest.mark.parametrize("wrap", ["{}", "ipfs://{}", "/ipfs/{}"])
@pytest.mark.parametrize("base", ["b", "B", "z", "f", "F"])
def test_parse__every_base_and_prefix__is_the_same_cid(base, wrap):
    cid = CID.of(DATA)
    text = {
        "b": str(cid),
        "B": str(cid).upper(),
        "z": "z" + base58(cid.bytes),
        "f": "f" + cid.bytes.hex(),
        "F": "F" + cid.bytes.hex().upper(),
    }[base]

    assert CID.parse(wrap.format(text)) == cid


def test_parse__version_0__round_trips():
    cid = CID.of(DATA, DAG_PB, version=0)

    assert str(cid).startswith("Qm")
    assert CID.parse(str(cid)) == cid
    assert cid.bytes == b"\x12\x20" + DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ipfs://",
        "b",
        "Qm",
        "k51qzi5uqu5d",
        "../../etc/passwd",
        "ipfs://../x",
        BASE32 + "a",
        BASE32[:-1],
        BASE32[:10] + BASE32[10:].upper(),
        "b" + "a" * 200,
        "f01551220" + "00" * 31,
        "f01551220" + "00" * 33,
        "f01551120" + "00" * 32,  # sha1
        "f01550020" + "00" * 32,  # identity
        "f01711220" + "00" * 32,  # dag-cbor
        "f02551220" + "00" * 32,  # version 2
        "f8100551220" + "00" * 32,  # a number not in its shortest form
        "f1220" + "00" * 32,  # version 0 in a multibase
        "Qm" + "0" * 44,  # 0 is no base58 digit
        "Ω" + BASE32,
    ],
)
def test_parse__malformed_or_unsupported__is_refused_in_one_line(text):
    with pytest.raises(ContentError) as caught:
        CID.parse(text)

    assert caught.value.field == "cid"
    assert "\n" not in str(caught.value)


@given(st.text(max_size=140))
def test_parse__any_text__is_a_cid_or_a_content_error(text):
    try:
        cid = CID.parse(text)
    except ContentError:
        return
    assert CID.parse(str(cid)) == cid


@given(st.binary(max_size=80))
def test_read__any_bytes__is_a_cid_or_a_content_error(data):
    try:
        cid, end = CID.read(data)
    except ContentError:
        return
    assert data[:end] == cid.bytes


@given(st.binary(min_size=32, max_size=32))
def test_ipfs_uri__any_digest__parses_back(digest):
    assert CID.parse(ipfs_uri(digest)) == CID.from_digest(digest) == CID(1, RAW, digest)


@given(st.integers(min_value=0, max_value=2**62))
def test_varint__any_number__round_trips(number):
    encoded = varint(number)

    assert read_varint(encoded, 0) == (number, len(encoded))


def test_verify__other_bytes__is_refused():
    with pytest.raises(ContentError, match="are not those of"):
        CID.of(DATA).verify(DATA + b"!")


def test_eq__texts_differ__cids_do_not():
    cid = CID.of(DATA)

    assert len({CID.parse(str(cid)), CID.parse("z" + base58(cid.bytes)), cid}) == 1
