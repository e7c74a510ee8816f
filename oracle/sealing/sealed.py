"""The sealed document: one padded, encrypted payload and a capsule per reader.

``docs/sealing.md`` describes the format for other implementations; the constants here
and there must agree.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from oracle.jobs.canonical import is_deeper
from oracle.jobs.errors import SealError
from oracle.sealing.capsules import CONTENT_KEY_SIZE, Capsule, Recipient, get_scheme, unwrap, wrap
from oracle.sealing.context import SealContext, check_fields
from oracle.sealing.keys import HybridKey, SealingKey, hkdf, key_id

TYPE = "qscrow.sealed"
VERSION = 1
MAX_SEALED_BYTES = 2**20
"""Largest document, in bytes: one content-addressed block (DESIGN §5)."""
MAX_CAPSULES = 16
MAX_DEPTH = 32
"""Deepest nesting of arrays and objects in a receipt."""
SALT_SIZE = 32

_PAYLOAD_LABEL = b"qscrow/payload-key/1"
_COMMITMENT_LABEL = b"qscrow/key-commitment/1"
_LENGTH_SIZE = 8
_NONCE_SIZE = 24
_TAG_SIZE = 16
_MAX_SAFE_INTEGER = 2**53 - 1
_HEX32 = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("type", "version", "context", "commitment", "capsules", "nonce", "ciphertext")


@dataclass(frozen=True)
class SealedInfo:
    """What anyone can read in a sealed document. Nothing in it is authenticated before opening.

    ``commitment`` is the 32-byte key commitment, ``nonce`` 24 bytes, ``ciphertext`` the
    padded payload with its 16-byte tag, ``size`` the document's length in bytes.
    """

    context: SealContext
    commitment: bytes
    capsules: tuple[Capsule, ...]
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)
    receipt: dict[str, Any] | None
    size: int


def seal(
    plaintext: bytes,
    context: SealContext,
    recipients: Sequence[Recipient],
    *,
    receipt: dict[str, Any] | None = None,
) -> bytes:
    """Seal ``plaintext`` for 1 to 16 recipients; returns the document as canonical JSON.

    ``receipt`` stays readable for everyone but is bound to the payload: it cannot be
    changed, added or removed. Raises :class:`SealError`, before anything is encrypted, if
    the document would exceed :data:`MAX_SEALED_BYTES`, the recipients are unusable or the
    receipt is not plain JSON.
    """
    _check_recipients(recipients)
    receipt_json = _canonical_receipt(receipt)
    _check_size(_document_size(len(plaintext), context, recipients, receipt))
    content_key = secrets.token_bytes(CONTENT_KEY_SIZE)
    capsules = [wrap(content_key, recipient, context) for recipient in recipients]
    commitment = _commitment(content_key, context)
    nonce = secrets.token_bytes(_NONCE_SIZE)
    box = _aead(content_key, context)
    ciphertext = box.encrypt(_pad(plaintext), _associated(context, commitment, receipt_json), nonce).ciphertext
    return _to_json(context, commitment, capsules, nonce, ciphertext, receipt)


def open_sealed(document: bytes, key: SealingKey | HybridKey, context: SealContext) -> bytes:
    """The plaintext of ``document``, which must have been sealed to ``key`` for ``context``.

    Raises :class:`SealError` saying what is wrong: sealed for another job, chain,
    contract, spec, requester or purpose; no capsule for this key; truncated; or which
    part was altered.
    """
    info = inspect_sealed(document)
    info.context.require(context)
    content_key = _content_key(info, key)
    associated = _associated(info.context, info.commitment, _canonical_receipt(info.receipt))
    from nacl.exceptions import CryptoError

    try:
        body = _aead(content_key, context).decrypt(info.ciphertext, associated, info.nonce)
    except CryptoError:
        raise _payload_altered(info) from None
    return _unpad(body)


def inspect_sealed(document: bytes) -> SealedInfo:
    """The public parts of a document, without a key.

    Strict: unknown or repeated fields, loose base64 or hex, numbers beyond 2^53, nesting
    beyond 32 levels, more than 16 capsules or a size above the limit raise
    :class:`SealError`. White space and the order of fields do not matter.
    """
    _check_size(len(document))
    data = _parse(document)
    check_fields(data, required=_FIELDS, optional=("receipt",), where="document")
    if data["type"] != TYPE or type(data["version"]) is not int or data["version"] != VERSION:
        raise SealError(
            f"not a {TYPE} document of version {VERSION}",
            field="version" if data["type"] == TYPE else "type",
            remedy="use a Qscrow version that knows this format",
        )
    ciphertext = _from_base64(data["ciphertext"], "ciphertext")
    _check_ciphertext_length(len(ciphertext))
    return SealedInfo(
        context=SealContext.from_dict(data["context"]),
        commitment=bytes.fromhex(_hex32(data["commitment"], "commitment")),
        capsules=_parse_capsules(data["capsules"]),
        nonce=_from_base64(data["nonce"], "nonce", size=_NONCE_SIZE),
        ciphertext=ciphertext,
        receipt=_parse_receipt(data),
        size=len(document),
    )


def commit(salt: bytes, result: bytes) -> bytes:
    """sha256(salt ‖ result), the public commitment to a sealed result.

    ``salt`` is 32 random bytes sealed together with the result: without it, the few
    likely results of a small circuit could be tried one by one. Raises :class:`SealError`
    for another salt length.
    """
    if len(salt) != SALT_SIZE:
        raise SealError(f"must be {SALT_SIZE} bytes", field="salt")
    return hashlib.sha256(salt + result).digest()


def padme(length: int) -> int:
    """The padded length for ``length`` bytes: Padmé, at most 12 % longer.

    Only as many leading bits of the length stay visible as a floating point number of
    that size has (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
    Communication with PURBs", 2019, algorithm 1).
    """
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    hidden_bits = exponent - exponent.bit_length()
    mask = (1 << hidden_bits) - 1
    return (length + mask) & ~mask


def _check_recipients(recipients: Sequence[Recipient]) -> None:
    if not 1 <= len(recipients) <= MAX_CAPSULES:
        raise SealError(f"a document has 1 to {MAX_CAPSULES} recipients", field="recipients")
    if len({(recipient.scheme, recipient.public) for recipient in recipients}) != len(recipients):
        raise SealError("the same recipient is listed twice", field="recipients")


def _check_size(size: int) -> None:
    if size > MAX_SEALED_BYTES:
        raise SealError(
            f"the document takes {size} bytes, the limit is {MAX_SEALED_BYTES}",
            field="document",
            remedy="seal less: publish bulky artefacts as blocks of their own, or name fewer recipients",
        )


def _document_size(
    plaintext: int, context: SealContext, recipients: Sequence[Recipient], receipt: dict[str, Any] | None
) -> int:
    """The exact size of the document, known before any of it is made: all its parts have fixed lengths."""
    capsules = [Capsule(r.scheme, r.key_id, bytes(get_scheme(r.scheme).wrapped_size)) for r in recipients]
    rest = len(_to_json(context, bytes(32), capsules, bytes(_NONCE_SIZE), b"", receipt))
    ciphertext = padme(_LENGTH_SIZE + plaintext) + _TAG_SIZE
    return rest + 4 * math.ceil(ciphertext / 3)


def _to_json(
    context: SealContext,
    commitment: bytes,
    capsules: Sequence[Capsule],
    nonce: bytes,
    ciphertext: bytes,
    receipt: dict[str, Any] | None,
) -> bytes:
    document: dict[str, Any] = {
        "type": TYPE,
        "version": VERSION,
        "context": context.as_dict(),
        "commitment": commitment.hex(),
        "capsules": [{"scheme": c.scheme, "to": c.to, "wrapped": _to_base64(c.wrapped)} for c in capsules],
        "nonce": _to_base64(nonce),
        "ciphertext": _to_base64(ciphertext),
    }
    if receipt is not None:
        document["receipt"] = receipt
    return rfc8785.dumps(document)


def _aead(content_key: bytes, context: SealContext) -> Any:
    from nacl.secret import Aead

    return Aead(hkdf(content_key, salt=context.digest(), info=_PAYLOAD_LABEL))


def _commitment(content_key: bytes, context: SealContext) -> bytes:
    # XChaCha20-Poly1305 alone lets a dishonest sealer make one ciphertext that opens to two
    # plaintexts under two keys. Publishing this value pins the key for every reader.
    return hkdf(content_key, salt=context.digest(), info=_COMMITMENT_LABEL)


def _associated(context: SealContext, commitment: bytes, receipt_json: bytes) -> bytes:
    # The two parts after the context have fixed lengths, so no two inputs share these bytes.
    return context.canonical() + commitment + hashlib.sha256(receipt_json).digest()


def _content_key(info: SealedInfo, key: SealingKey | HybridKey) -> bytes:
    """The content key from the first capsule for ``key`` that opens and matches the commitment."""
    mine = [c for c in info.capsules if c.to == key_id(key.public) and c.scheme in key.schemes]
    if not mine:
        raise SealError(
            f"not sealed to this key: the document has no capsule for {key_id(key.public)}",
            field="capsules",
            remedy=f"open it with a key it was sealed to: {', '.join(sorted({c.to for c in info.capsules}))}",
        )
    problems: list[SealError] = []
    for capsule in mine:
        try:
            content_key = unwrap(capsule, key, info.context)
        except SealError as error:
            problems.append(error)
            continue
        if hmac.compare_digest(_commitment(content_key, info.context), info.commitment):
            return content_key
        problems.append(_commitment_mismatch())
    raise problems[0]


def _commitment_mismatch() -> SealError:
    return SealError(
        "the key commitment does not match the key in the capsule: one of them was altered or replaced",
        field="commitment",
        remedy="fetch the document from the digest on chain",
    )


def _payload_altered(info: SealedInfo) -> SealError:
    parts = "the receipt, the ciphertext or the nonce was altered"
    if info.receipt is None:
        parts = "the ciphertext or the nonce was altered, or a receipt was removed"
    return SealError(
        f"the payload does not open: {parts}",
        field="ciphertext" if info.receipt is None else "receipt",
        remedy="fetch the document from the digest on chain",
    )


def _pad(plaintext: bytes) -> bytes:
    body = len(plaintext).to_bytes(_LENGTH_SIZE, "big") + plaintext
    return body + bytes(padme(len(body)) - len(body))


def _unpad(body: bytes) -> bytes:
    end = _LENGTH_SIZE + int.from_bytes(body[:_LENGTH_SIZE], "big")
    # The seal was right, so whoever sealed it broke the format: one plaintext, one body.
    if padme(end) != len(body) or any(body[end:]):
        raise SealError("the payload's padding breaks the format", field="ciphertext", remedy="ask who sealed it")
    return body[_LENGTH_SIZE:end]


def _check_ciphertext_length(length: int) -> None:
    body = length - _TAG_SIZE
    if body < _LENGTH_SIZE or padme(body) != body:
        raise SealError(
            f"a payload is never {length} bytes long: it was truncated or extended",
            field="ciphertext",
            remedy="fetch the document again",
        )


def _parse(document: bytes) -> dict[str, Any]:
    """The top-level object, with every hazard of JSON turned into a :class:`SealError`."""
    if is_deeper(document, 2 * MAX_DEPTH):  # a receipt has a limit of its own, checked with the rest of it
        raise _too_deep()
    try:
        text = bytes(document).decode()
        data = json.loads(
            text,
            object_pairs_hook=_unique_fields,
            parse_int=_safe_integer,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise SealError("not UTF-8 text, so no sealed document", field="document") from None
    except ValueError:
        raise SealError(
            "not JSON: truncated, altered or no sealed document", field="document", remedy="fetch it again"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(data, dict):
        raise SealError("not a JSON object, so no sealed document", field="document")
    return data


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise SealError("an object repeats a field", field="document")
    return data


def _safe_integer(text: str) -> int:
    # The length first: converting a million digits is slow.
    if len(text) > 17 or abs(int(text)) > _MAX_SAFE_INTEGER:
        raise SealError("a number is beyond 2^53", field="document", remedy="write it as a decimal string")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise SealError("a number is beyond what JSON readers agree on", field="document")
    return value


def _no_constant(text: str) -> float:
    raise SealError(f"{text} is no JSON number", field="document")


def _parse_capsules(data: object) -> tuple[Capsule, ...]:
    if not isinstance(data, list) or not 1 <= len(data) <= MAX_CAPSULES:
        raise SealError(f"must be a list of 1 to {MAX_CAPSULES} capsules", field="capsules")
    capsules = tuple(_parse_capsule(item) for item in data)
    if len({(c.scheme, c.to) for c in capsules}) != len(capsules):
        raise SealError("two capsules are for the same key and scheme", field="capsules")
    return capsules


def _parse_capsule(data: object) -> Capsule:
    if not isinstance(data, dict):
        raise SealError("a capsule must be an object", field="capsules")
    check_fields(data, required=("scheme", "to", "wrapped"), where="capsules")
    return Capsule(data["scheme"], _hex32(data["to"], "capsules.to"), _from_base64(data["wrapped"], "capsules.wrapped"))


def _parse_receipt(data: dict[str, Any]) -> dict[str, Any] | None:
    if "receipt" not in data:
        return None
    receipt: dict[str, Any] | None = data["receipt"]
    if receipt is None:
        raise SealError("must be an object or absent", field="receipt")
    _canonical_receipt(receipt)
    return receipt


def _canonical_receipt(receipt: dict[str, Any] | None) -> bytes:
    """RFC 8785 bytes of the receipt, empty if there is none.

    The bytes are read back once: a float such as 1e16 becomes an integer in canonical
    JSON that no reader accepts, and must be refused before it is sealed.
    """
    if receipt is None:
        return b""
    if not isinstance(receipt, dict):
        raise SealError("must be an object", field="receipt")
    _check_depth(receipt)
    try:
        canonical = rfc8785.dumps(receipt)
    except (ValueError, TypeError, RecursionError) as error:
        # No receipt holds secrets, but a message may echo a million digits.
        raise SealError(f"not plain JSON: {ascii(str(error))[:80]}", field="receipt") from None
    _parse(canonical)
    return canonical


def _check_depth(value: Any) -> None:
    """Walk level by level, without recursion: the nesting is the very thing not to be trusted."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list, tuple))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    if any(isinstance(item, (dict, list, tuple)) for item in level):
        raise _too_deep()


def _too_deep() -> SealError:
    return SealError(f"nested deeper than {MAX_DEPTH} levels", field="receipt")


def _hex32(value: object, where: str) -> str:
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise SealError("must be 64 lower-case hex digits", field=where)
    return value


def _from_base64(value: object, where: str, *, size: int | None = None) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        data = None
    # Encoding again catches the spellings a lenient decoder takes for the same bytes.
    if data is None or _to_base64(data) != value:
        raise SealError("must be padded standard base64", field=where)
    if size is not None and len(data) != size:
        raise SealError(f"must be {size} bytes", field=where)
    return data


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
