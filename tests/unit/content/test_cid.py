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
        "f01550004" + "00" * 4,  # identity, of a few bytes
        "ipfs:///ipfs/" + BASE32,
        "/ipfs/ipfs://" + BASE32,
        "ipfs://" + BASE32 + "/../../secret",
        BASE32 + "\n",
        BASE32 + "\x00",
        BASE32 + "=",
        BASE32.replace("b", "b ", 1),
        "\ud800" + BASE32,
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


def test_parse__identity_hash__says_why():
    with pytest.raises(ContentError, match="carries its data inline"):
        CID.parse("f01550003616263")


@pytest.mark.parametrize("thing", [None, 7, b"bytes", ["list"]])
def test_parse__not_text__is_refused(thing):
    with pytest.raises(ContentError, match="not text"):
        CID.parse(thing)


@given(st.text(max_size=140))
def test_parse__any_text__is_a_cid_or_a_content_error(text):
    try:
        cid = CID.parse(text)
    except ContentError:
        return
    assert CID.parse(str(cid)) == cid


@given(st.sampled_from("bBzfFQ"), st.text("0123456789abcdefABCDEFQmz=", max_size=80))
def test_parse__any_text_in_a_known_base__is_a_cid_or_a_content_error(base, text):
    try:
        cid = CID.parse(base + text)
    except ContentError:
        return
    assert CID.parse(str(cid)) == cid


@given(st.binary(min_size=32, max_size=32), st.sampled_from([RAW, DAG_PB]), st.integers(0, 76), st.integers(1, 255))
def test_parse__one_byte_altered__is_another_cid_or_a_content_error(digest, codec, place, change):
    cid = CID(1, codec, digest)
    altered = bytearray(cid.bytes)
    altered[place % len(altered)] ^= change
    try:
        found = CID.parse("f" + altered.hex())
    except ContentError:
        return
    assert found != cid


@given(st.binary(min_size=32, max_size=32), st.sampled_from([(0, DAG_PB), (1, DAG_PB), (1, RAW)]))
def test_str__any_cid__round_trips_in_text_and_bytes(digest, kind):
    cid = CID(*kind, digest)

    assert CID.parse(str(cid)) == CID.parse(cid.uri) == cid
    assert CID.read(b"before" + cid.bytes + b"after", 6) == (cid, 6 + len(cid.bytes))
    assert cid.bytes.endswith(cid.multihash)


@pytest.mark.parametrize(("version", "codec", "size"), [(0, RAW, 32), (2, RAW, 32), (1, 0x71, 32), (1, RAW, 31)])
def test_init__unsupported_parts__are_refused(version, codec, size):
    with pytest.raises(ContentError):
        CID(version, codec, bytes(size))


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


def test_eq__versions_differ__cids_do_too():
    assert CID.of(DATA, DAG_PB, version=0) != CID.of(DATA, DAG_PB, version=1) != CID.of(DATA, RAW)


def test_eq__texts_differ__cids_do_not():
    cid = CID.of(DATA)

    assert len({CID.parse(str(cid)), CID.parse("z" + base58(cid.bytes)), cid}) == 1
