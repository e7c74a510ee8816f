"""Content identifiers (CIDs), strictly parsed. Spec: https://github.com/multiformats/cid

Only sha2-256 multihashes and the codecs ``raw`` and ``dag-pb`` are taken: everything Qscrow publishes uses them, and
every other hash function is one more way to be lied to. CIDs are compared as bytes; the same CID has several texts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from oracle.jobs.errors import ContentError

RAW, DAG_PB = 0x55, 0x70
SHA2_256, IDENTITY = 0x12, 0x00
DIGEST_SIZE = 32
MAX_TEXT = 128
_CODECS = {RAW, DAG_PB}
_PREFIXES = ("ipfs://", "/ipfs/")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class CID:
    """One content identifier. ``digest`` is the sha2-256 of the block; ``version`` is 0 or 1."""

    version: int
    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_SIZE:
            raise _bad(f"its digest has {len(self.digest)} bytes, not {DIGEST_SIZE}")
        if self.codec not in _CODECS:
            raise _bad(f"codec 0x{self.codec:x} is not supported")
        if self.version not in (0, 1) or (self.version == 0 and self.codec != DAG_PB):
            raise _bad("its version is not supported")

    @classmethod
    def of(cls, data: bytes, codec: int = RAW, version: int = 1) -> CID:
        """The CID of one block."""
        return cls(version, codec, hashlib.sha256(data).digest())

    @classmethod
    def from_digest(cls, digest: bytes) -> CID:
        """CIDv1 of the raw block with this sha2-256 digest, as digests stand on chain."""
        return cls(1, RAW, bytes(digest))

    @classmethod
    def parse(cls, text: str) -> CID:
        """Read base58 CIDv0, or CIDv1 in base32, base58btc or base16, bare or as ``ipfs://…`` or ``/ipfs/…``.

        Raises :class:`ContentError` for anything else.
        """
        if not isinstance(text, str):
            raise _bad("it is not text")
        prefix = next((known for known in _PREFIXES if text.startswith(known)), "")
        bare = text.removeprefix(prefix)
        if not bare or len(bare) > MAX_TEXT or not bare.isascii():
            raise _bad(f"{text[:60]!r} is not a CID")
        if len(bare) == 46 and bare.startswith("Qm"):
            return cls._from_bytes(_from_base58(bare), text)
        decode = _MULTIBASES.get(bare[0])
        if decode is None:
            raise _bad(f"{text[:60]!r} is in no supported base")
        cid = cls._from_bytes(decode(bare[1:]), text)
        if cid.version == 0:
            raise _bad(f"{text[:60]!r} puts a CIDv0 into a multibase")
        return cid

    @classmethod
    def read(cls, data: bytes, position: int = 0) -> tuple[CID, int]:
        """The binary CID at ``position`` and the position after it. Raises :class:`ContentError`."""
        if data[position : position + 2] == bytes((SHA2_256, DIGEST_SIZE)):
            version, codec, start = 0, DAG_PB, position
        else:
            version, start = read_varint(data, position)
            if version != 1:
                raise _bad("its version is not supported")
            codec, start = read_varint(data, start)
        function, start = read_varint(data, start)
        size, start = read_varint(data, start)
        if function == IDENTITY:
            raise _bad("it carries its data inline (identity hash), which nothing here is made of")
        if function != SHA2_256 or size != DIGEST_SIZE:
            raise _bad(f"hash function 0x{function:x} with {size} bytes is not supported")
        end = start + size
        return cls(version, codec, bytes(data[start:end])), end

    @classmethod
    def _from_bytes(cls, data: bytes, text: str) -> CID:
        cid, end = cls.read(data)
        if end != len(data):
            raise _bad(f"{text[:60]!r} has trailing bytes")
        return cid

    @property
    def multihash(self) -> bytes:
        """Hash function, digest size and digest: what names the bytes, whatever the version and codec."""
        return bytes((SHA2_256, DIGEST_SIZE)) + self.digest

    @property
    def bytes(self) -> bytes:
        """Binary form."""
        return self.multihash if self.version == 0 else bytes((1, self.codec)) + self.multihash

    @property
    def uri(self) -> str:
        """``ipfs://`` and the CID."""
        return f"ipfs://{self}"

    def verify(self, data: bytes) -> None:
        """Raise :class:`ContentError` unless ``data`` is the block this CID names."""
        if hashlib.sha256(data).digest() != self.digest:
            raise ContentError(
                f"the bytes are not those of {self}", field="cid", remedy="fetch them from another place"
            )

    def __str__(self) -> str:
        if self.version == 0:
            return _to_base58(self.bytes)
        return "b" + base64.b32encode(self.bytes).decode().rstrip("=").lower()


def ipfs_uri(digest: bytes) -> str:
    """``ipfs://f01551220<hex>``: the link to a raw block as the contract prints it."""
    return f"ipfs://f{CID.from_digest(digest).bytes.hex()}"


def varint(number: int) -> bytes:
    """Unsigned LEB128. Spec: https://github.com/multiformats/unsigned-varint"""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The minimal varint at ``position`` and the position after it. Raises :class:`ContentError`."""
    number = 0
    for count in range(9):
        if position + count >= len(data):
            raise ContentError("truncated number", field="cid")
        byte = data[position + count]
        number |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            if count and not byte:
                raise ContentError("number not in its shortest form", field="cid")
            return number, position + count + 1
    raise ContentError("number too long", field="cid")


def _from_base58(text: str) -> bytes:
    number = 0
    for character in text:
        value = _BASE58.find(character)
        if value < 0:
            raise _bad(f"{character!r} is not a base58 digit")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _to_base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _from_base32(text: str) -> bytes:
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        raise _bad(f"{text[:60]!r} is not base32") from None
    # b32decode drops leftover bits, so that several texts would mean one CID.
    if base64.b32encode(data).decode().rstrip("=") != text.upper():
        raise _bad(f"{text[:60]!r} is not canonical base32")
    return data


def _one_case(decode: Callable[[str], bytes], text: str) -> bytes:
    if text not in (text.lower(), text.upper()):
        raise _bad("it mixes upper and lower case")
    return decode(text)


def _from_base16(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        raise _bad(f"{text[:60]!r} is not base16") from None


_MULTIBASES: dict[str, Callable[[str], bytes]] = {
    "b": lambda text: _one_case(_from_base32, text),
    "B": lambda text: _one_case(_from_base32, text),
    "z": _from_base58,
    "f": lambda text: _one_case(_from_base16, text),
    "F": lambda text: _one_case(_from_base16, text),
}


def _bad(why: str) -> ContentError:
    return ContentError(f"not a usable CID: {why}", field="cid", remedy="copy the link again")
