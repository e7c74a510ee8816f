from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from typing import Any

import nacl.bindings
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.errors import SealError
from oracle.sealing.capsules import Capsule, Recipient, unwrap
from oracle.sealing.context import SealContext
from oracle.sealing.keys import HybridKey, SealingKey
from oracle.sealing.sealed import (
    MAX_CAPSULES,
    MAX_SEALED_BYTES,
    commit,
    inspect_sealed,
    open_sealed,
    padme,
    seal,
)

SECRET = bytes(range(1, 33))
CLASSIC = SealingKey.from_bytes(SECRET)
VALIDATOR = SealingKey.from_bytes(b"\x09" * 32)
HYBRID = CLASSIC.hybrid()
CHAIN, CONTRACT, JOB, SPEC, PARTY = 1, "0x" + "c0" * 20, 7, b"\x11" * 32, "0x" + "a1" * 20
CONTEXT = SealContext("result", CHAIN, CONTRACT, JOB, SPEC, PARTY)
CONTEXT_JSON = (
    b'{"chain_id":"1","contract":"0x' + b"c0" * 20 + b'","job_id":"7","party":"0x' + b"a1" * 20
    + b'","purpose":"result","spec":"0x' + b"11" * 32 + b'"}'
)  # fmt: skip
RECEIPT = {"engine": "stim", "shots": 1024, "seconds": 0.25, "gates": [1, None, True, {"h": "é"}]}
TO_CLASSIC = Recipient("nacl", CLASSIC.public)
TO_ALL = [TO_CLASSIC, Recipient("hpke", VALIDATOR.public), Recipient("xwing", HYBRID.public)]
OPENERS: list[SealingKey | HybridKey] = [CLASSIC, VALIDATOR, HYBRID]
TEXT = b'{"counts":{"00":512,"11":512}}'


def document(**changes: Any) -> bytes:
    """A sealed document with top-level fields replaced; ``None`` removes a field."""
    data = {**json.loads(seal(TEXT, CONTEXT, TO_ALL, receipt=RECEIPT)), **changes}
    return rfc8785.dumps({name: value for name, value in data.items() if value is not None})


def refusal(data: bytes, key: SealingKey | HybridKey = CLASSIC, context: SealContext = CONTEXT) -> SealError:
    with pytest.raises(SealError) as caught:
        open_sealed(data, key, context)
    return caught.value


def flip(text: str) -> str:
    """Base64 with one bit of its first byte changed."""
    data = bytearray(base64.b64decode(text))
    data[0] ^= 1
    return base64.b64encode(data).decode()


# --- round trips ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=64), st.binary(min_size=1000, max_size=6000)), st.booleans())
def test_open_sealed__any_plaintext_three_recipients__each_reads_it(plaintext: bytes, with_receipt: bool) -> None:
    receipt = RECEIPT if with_receipt else None
    sealed = seal(plaintext, CONTEXT, TO_ALL, receipt=receipt)
    assert [open_sealed(sealed, key, CONTEXT) for key in OPENERS] == [plaintext] * 3
    assert inspect_sealed(sealed).receipt == receipt


@pytest.mark.parametrize("scheme", ["nacl", "hpke", "xwing"])
def test_open_sealed__one_recipient_empty_plaintext__opens(scheme: str) -> None:
    key: SealingKey | HybridKey = HYBRID if scheme == "xwing" else CLASSIC
    assert open_sealed(seal(b"", CONTEXT, [Recipient(scheme, key.public)]), key, CONTEXT) == b""


def test_open_sealed__sealed_circuit__opens_for_its_requester_only() -> None:
    context = SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party=PARTY)
    sealed = seal(b"OPENQASM 3;", context, [TO_CLASSIC])
    assert open_sealed(sealed, CLASSIC, context) == b"OPENQASM 3;"
    thief = SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party="0x" + "ee" * 20)
    assert "sealed for requester" in refusal(sealed, context=thief).message


def test_open_sealed__circuit_readdressed_to_another_requester__does_not_open() -> None:
    thief = SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party="0x" + "ee" * 20)
    mine = SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party=PARTY)
    for recipient, key in zip(TO_ALL, OPENERS, strict=True):
        data = json.loads(seal(b"OPENQASM 3;", mine, [recipient]))
        data["context"] = thief.as_dict()
        assert refusal(rfc8785.dumps(data), key, thief).field == "capsules"


def test_open_sealed__derived_job_key__opens() -> None:
    job_key = CLASSIC.for_spec(SPEC)
    sealed = seal(TEXT, CONTEXT, [Recipient("nacl", job_key.public)])
    assert open_sealed(sealed, SealingKey.from_bytes(SECRET).for_spec(SPEC), CONTEXT) == TEXT


def test_seal__output__is_canonical_json_and_hides_the_plaintext() -> None:
    sealed = seal(TEXT, CONTEXT, TO_ALL, receipt=RECEIPT)
    assert rfc8785.dumps(json.loads(sealed)) == sealed
    assert b"counts" not in sealed and base64.b64encode(TEXT)[:20] not in sealed
    assert sorted(json.loads(sealed)) == [
        "capsules", "ciphertext", "commitment", "context", "nonce", "receipt", "type", "version",
    ]  # fmt: skip


def test_seal__same_input_twice__shares_nothing_secret() -> None:
    one, two = (json.loads(seal(TEXT, CONTEXT, [TO_CLASSIC])) for _ in range(2))
    for name in ("commitment", "nonce", "ciphertext", "capsules"):
        assert one[name] != two[name]


def test_open_sealed__capsules_reordered__still_opens() -> None:
    data = json.loads(document())
    data["capsules"].reverse()
    assert [open_sealed(rfc8785.dumps(data), key, CONTEXT) for key in OPENERS] == [TEXT] * 3


def test_open_sealed__indented_with_fields_in_other_order__still_opens() -> None:
    data = json.loads(document())
    text = json.dumps(dict(reversed(list(data.items()))), indent=3)
    assert open_sealed(text.encode(), CLASSIC, CONTEXT) == TEXT


def test_open_sealed__one_of_two_capsules_for_the_key_altered__other_opens() -> None:
    data = json.loads(seal(TEXT, CONTEXT, [TO_CLASSIC, Recipient("hpke", CLASSIC.public)]))
    data["capsules"][0]["wrapped"] = flip(data["capsules"][0]["wrapped"])
    assert open_sealed(rfc8785.dumps(data), CLASSIC, CONTEXT) == TEXT


# --- refusals: who and where ------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (
            SealContext("result", CHAIN, CONTRACT, 8, SPEC, PARTY),
            "sealed for job 7 on chain 1, not for job 8",
        ),
        (SealContext("result", 5, CONTRACT, JOB, SPEC, PARTY), "sealed for chain 1, not for chain 5"),
        (SealContext("result", CHAIN, "0x" + "cc" * 20, JOB, SPEC, PARTY), "sealed for contract 0xc0c0"),
        (SealContext("result", CHAIN, CONTRACT, JOB, b"\x22" * 32, PARTY), "sealed for spec 0x1111"),
        (SealContext("result", CHAIN, CONTRACT, JOB, SPEC, "0x" + "bb" * 20), "sealed for requester 0xa1a1"),
        (
            SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party=PARTY),
            "sealed as a result, not as a circuit",
        ),
    ],
)
def test_open_sealed__expected_elsewhere__says_what_differs(context: SealContext, message: str) -> None:
    assert refusal(document(), context=context).message.startswith(message)


@pytest.mark.parametrize(
    "other",
    [
        SealContext("result", CHAIN, CONTRACT, 8, SPEC, PARTY),
        SealContext("result", 5, CONTRACT, JOB, SPEC, PARTY),
        SealContext("result", CHAIN, "0x" + "cc" * 20, JOB, SPEC, PARTY),
        SealContext("result", CHAIN, CONTRACT, JOB, b"\x22" * 32, PARTY),
        SealContext("result", CHAIN, CONTRACT, JOB, SPEC, "0x" + "bb" * 20),
        SealContext.for_circuit(chain_id=CHAIN, contract=CONTRACT, party=PARTY),
    ],
)
def test_open_sealed__context_rewritten_to_the_expected_one__does_not_open(other: SealContext) -> None:
    altered = document(context=other.as_dict())
    for key in OPENERS:
        assert refusal(altered, key, other).field == "capsules"


@pytest.mark.parametrize("key", [SealingKey.from_bytes(b"\x55" * 32), HybridKey.from_bytes(b"\x55" * 32)])
def test_open_sealed__wrong_key__names_the_keys_it_was_sealed_to(key: SealingKey | HybridKey) -> None:
    error = refusal(document(), key)
    assert error.message.startswith("not sealed to this key: the document has no capsule for")
    assert CLASSIC.public.hex() in str(error)


def test_open_sealed__own_capsule_removed__no_capsule_for_this_key() -> None:
    capsules = json.loads(document())["capsules"][1:]
    assert "no capsule for" in refusal(document(capsules=capsules)).message


# --- refusals: altered parts ------------------------------------------------------------


def test_open_sealed__ciphertext_altered__own_message() -> None:
    data = json.loads(seal(TEXT, CONTEXT, [TO_CLASSIC]))
    data["ciphertext"] = flip(data["ciphertext"])
    error = refusal(rfc8785.dumps(data))
    assert (error.field, "ciphertext or the nonce was altered" in error.message) == ("ciphertext", True)


def test_open_sealed__nonce_altered__own_message() -> None:
    data = json.loads(document())
    assert "nonce was altered" in refusal(document(nonce=flip(data["nonce"]))).message


@pytest.mark.parametrize("index", [0, 1, 2])
def test_open_sealed__capsule_altered__own_message(index: int) -> None:
    data = json.loads(document())
    data["capsules"][index]["wrapped"] = flip(data["capsules"][index]["wrapped"])
    error = refusal(rfc8785.dumps(data), OPENERS[index])
    assert f"the {data['capsules'][index]['scheme']} capsule for this key does not open" in error.message


def test_open_sealed__capsule_from_another_document_of_the_job__commitment_mismatch() -> None:
    capsules = json.loads(seal(b"other", CONTEXT, TO_ALL))["capsules"]
    for key in OPENERS:
        error = refusal(document(capsules=capsules), key)
        assert (error.field, "commitment does not match" in error.message) == ("commitment", True)


def test_open_sealed__commitment_altered__own_message() -> None:
    assert "commitment does not match" in refusal(document(commitment="00" * 32)).message


@pytest.mark.parametrize("receipt", [{**RECEIPT, "shots": 2048}, {}, {**RECEIPT, "more": 1}])
def test_open_sealed__receipt_altered__own_message(receipt: dict[str, Any]) -> None:
    error = refusal(document(receipt=receipt))
    assert (error.field, "the receipt" in error.message) == ("receipt", True)


def test_open_sealed__receipt_removed__own_message() -> None:
    data = json.loads(document())
    del data["receipt"]
    assert "a receipt was removed" in refusal(rfc8785.dumps(data)).message


def test_open_sealed__receipt_added__refused() -> None:
    data = json.loads(seal(TEXT, CONTEXT, [TO_CLASSIC]))
    for receipt in ({}, {"a": 1}):
        assert refusal(rfc8785.dumps({**data, "receipt": receipt})).field == "receipt"


def test_open_sealed__ciphertext_truncated__says_truncated() -> None:
    data = json.loads(seal(b"x" * 5000, CONTEXT, [TO_CLASSIC]))
    cut = base64.b64encode(base64.b64decode(data["ciphertext"])[:-1]).decode()
    assert "truncated" in refusal(rfc8785.dumps({**data, "ciphertext": cut})).message


@pytest.mark.parametrize("keep", [0, 1, 0.5, -1])
def test_open_sealed__document_truncated__says_truncated(keep: float) -> None:
    whole = document()
    cut = whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)]
    assert "truncated" in refusal(cut).message


def test_open_sealed__sealer_breaks_the_padding__refused() -> None:
    """A capsule holder that seals by hand cannot hide bytes behind the declared length."""
    good = json.loads(seal(b"a" * 20, CONTEXT, [TO_CLASSIC]))
    content_key = unwrap(inspect_sealed(rfc8785.dumps(good)).capsules[0], CLASSIC, CONTEXT)
    bodies = {
        "length beyond the end": (99).to_bytes(8, "big") + bytes(20),
        "length that pads elsewhere": (2).to_bytes(8, "big") + bytes(20),
        "padding not zero": (17).to_bytes(8, "big") + b"a" * 17 + b"\x01",
    }
    for why, body in bodies.items():
        assert padme(len(body)) == len(body), why
        ciphertext = raw_encrypt(body, content_key, good)
        assert "padding breaks the format" in refusal(rfc8785.dumps({**good, "ciphertext": ciphertext})).message, why


# --- strict parsing ---------------------------------------------------------------------


def mutated(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = json.loads(document())
    change(data)
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(extra=1),
        lambda d: d["context"].update(extra="1"),
        lambda d: d["capsules"][0].update(extra=1),
        lambda d: d.pop("nonce"),
        lambda d: d["capsules"][0].pop("to"),
        lambda d: d["context"].pop("party"),
        lambda d: d.update(type="qscrow.other"),
        lambda d: d.update(type=None),
        lambda d: d.update(version=2),
        lambda d: d.update(version="1"),
        lambda d: d.update(version=True),
        lambda d: d.update(version=1.0),
        lambda d: d.update(context=[]),
        lambda d: d["context"].update(job_id=7),
        lambda d: d["context"].update(job_id="07"),
        lambda d: d.update(commitment="00" * 31),
        lambda d: d.update(commitment="AB" * 32),
        lambda d: d.update(commitment=5),
        lambda d: d.update(nonce="AAAA"),
        lambda d: d.update(nonce=None),
        lambda d: d.update(nonce=" " + d["nonce"]),
        lambda d: d.update(nonce=d["nonce"] + "\n"),
        lambda d: d.update(ciphertext=d["ciphertext"].rstrip("=") + "=" * 5),
        lambda d: d.update(ciphertext="é" * 8),
        lambda d: d.update(ciphertext=""),
        lambda d: d.update(ciphertext={"a": 1}),
        lambda d: d.update(capsules=[]),
        lambda d: d.update(capsules={}),
        lambda d: d.update(capsules=[5]),
        lambda d: d.update(capsules=d["capsules"] * 2),
        lambda d: d["capsules"][0].update(scheme="rot13"),
        lambda d: d["capsules"][0].update(scheme=["nacl"]),
        lambda d: d["capsules"][0].update(to="zz" * 32),
        lambda d: d["capsules"][0].update(wrapped=""),
        lambda d: d.update(receipt=None),
        lambda d: d.update(receipt=[1]),
        lambda d: d.update(receipt="x"),
        lambda d: d.update(receipt={"\ud800": 1}),
        lambda d: d.update(receipt={"a": "\udfff"}),
        lambda d: d.update({"\ud800": 1}),
    ],
)
def test_inspect_sealed__not_the_exact_form__one_line_seal_error(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(SealError) as caught:
        inspect_sealed(mutated(change))
    assert len(str(caught.value).encode()) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}",
        b"{}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"1" * 500_000,
        b'{"version":' + b"9" * 10_000 + b"}",
        b'{"version":1e999}',
        b'{"version":NaN}',
        b'{"version":-Infinity}',
        b'{"type":"qscrow.sealed","type":"qscrow.sealed"}',
    ],
)
def test_inspect_sealed__hostile_bytes__seal_error(data: bytes) -> None:
    with pytest.raises(SealError) as caught:
        inspect_sealed(data)
    assert len(str(caught.value)) < 400


def test_inspect_sealed__last_base64_digit_with_stray_bits__refused() -> None:
    data = json.loads(document())
    assert data["capsules"][0]["wrapped"].endswith("=")
    wrapped = data["capsules"][0]["wrapped"].rstrip("=")
    padding = data["capsules"][0]["wrapped"][len(wrapped) :]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    data["capsules"][0]["wrapped"] = wrapped[:-1] + alphabet[alphabet.index(wrapped[-1]) + 1] + padding
    with pytest.raises(SealError, match="padded standard base64"):
        inspect_sealed(rfc8785.dumps(data))


def test_inspect_sealed__field_repeated_deep_inside__refused() -> None:
    text = document().replace(b'"engine":"stim"', b'"engine":"stim","engine":"stim"')
    with pytest.raises(SealError, match="repeats a field"):
        inspect_sealed(text)


def test_inspect_sealed__receipt_number_beyond_2_53__refused() -> None:
    text = document().replace(b'"shots":1024', b'"shots":9007199254740993')
    with pytest.raises(SealError, match="decimal string"):
        inspect_sealed(text)


def test_inspect_sealed__too_many_capsules__refused() -> None:
    capsule = json.loads(document())["capsules"][0]
    capsules = [{**capsule, "to": f"{i:064x}"} for i in range(MAX_CAPSULES + 1)]
    assert len(inspect_sealed(document(capsules=capsules[:-1])).capsules) == MAX_CAPSULES
    with pytest.raises(SealError, match="1 to 16 capsules"):
        inspect_sealed(document(capsules=capsules))


def test_inspect_sealed__larger_than_the_limit__refused_before_parsing() -> None:
    with pytest.raises(SealError, match=f"the limit is {MAX_SEALED_BYTES}"):
        inspect_sealed(b"[" * (MAX_SEALED_BYTES + 1))


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_inspect_sealed__receipt_nesting__32_levels_pass_33_do_not() -> None:
    sealed = seal(TEXT, CONTEXT, [TO_CLASSIC], receipt=nested(32))
    assert open_sealed(sealed, CLASSIC, CONTEXT) == TEXT
    with pytest.raises(SealError, match="deeper than 32"):
        inspect_sealed(rfc8785.dumps({**json.loads(sealed), "receipt": nested(33)}))
    with pytest.raises(SealError, match="deeper than 32"):
        seal(TEXT, CONTEXT, [TO_CLASSIC], receipt=nested(33))


def test_inspect_sealed__no_key__shows_the_public_parts() -> None:
    sealed = seal(TEXT, CONTEXT, TO_ALL, receipt=RECEIPT)
    info = inspect_sealed(sealed)
    assert (info.context, info.receipt, info.size) == (CONTEXT, RECEIPT, len(sealed))
    assert [c.scheme for c in info.capsules] == ["nacl", "hpke", "xwing"]
    assert info.capsules[0].to == CLASSIC.public.hex()
    assert info.capsules[2].to == hashlib.sha256(HYBRID.public).hexdigest()


# --- sealing refuses --------------------------------------------------------------------


@pytest.mark.parametrize("recipients", [[], [TO_CLASSIC] * 2, [TO_CLASSIC] * 17])
def test_seal__no_repeated_or_too_many_recipients__refused(recipients: list[Recipient]) -> None:
    with pytest.raises(SealError, match="recipient"):
        seal(TEXT, CONTEXT, recipients)


@pytest.mark.parametrize(
    "receipt",
    [
        {"a": 2**53},
        {"a": 10**5000},
        {"a": 1e16},
        {"a": float("nan")},
        {"a": b"x"},
        {1: 2},
        {"a": "\ud800"},
        {"a": {1}},
        [1],
        "x",
    ],
)
def test_seal__receipt_no_reader_would_accept__refused(receipt: Any) -> None:
    with pytest.raises(SealError) as caught:
        seal(TEXT, CONTEXT, [TO_CLASSIC], receipt=receipt)
    assert len(str(caught.value)) < 200


def largest_plaintext(recipients: list[Recipient]) -> int:
    """By bisection over the documented size formula's only free part: does it seal or not."""
    low, high = 0, MAX_SEALED_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        try:
            seal(bytes(middle), CONTEXT, recipients)
            low = middle
        except SealError:
            high = middle - 1
    return low


def test_seal__up_to_the_limit__fits_and_one_more_byte_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    size = largest_plaintext([TO_CLASSIC])
    sealed = seal(bytes(size), CONTEXT, [TO_CLASSIC])
    assert 0.9 * MAX_SEALED_BYTES < len(sealed) <= MAX_SEALED_BYTES
    assert open_sealed(sealed, CLASSIC, CONTEXT) == bytes(size)
    monkeypatch.setattr("oracle.sealing.sealed.wrap", lambda *_: pytest.fail("a capsule was made"))
    with pytest.raises(SealError, match=r"takes \d+ bytes, the limit is 1048576"):
        seal(bytes(size + 1), CONTEXT, [TO_CLASSIC])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4000), st.lists(st.sampled_from(TO_ALL), min_size=1, unique=True), st.booleans())
def test_seal__size_named_in_the_refusal__is_the_size_it_would_have(
    size: int, to: list[Recipient], receipt: bool
) -> None:
    extra = RECEIPT if receipt else None
    actual = len(seal(bytes(size), CONTEXT, to, receipt=extra))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oracle.sealing.sealed.MAX_SEALED_BYTES", actual - 1)
        with pytest.raises(SealError, match=f"takes {actual} bytes"):
            seal(bytes(size), CONTEXT, to, receipt=extra)


# --- padding and commitment -------------------------------------------------------------


@given(st.integers(0, 2**40))
def test_padme__any_length__covers_it_with_at_most_12_percent(length: int) -> None:
    padded = padme(length)
    assert length <= padded <= length * 1.12
    assert padme(padded) == padded


@pytest.mark.parametrize(
    ("length", "padded"),
    # From the paper, by hand: E = floor(log2 L), S = floor(log2 E) + 1, the last E - S bits become zero.
    [
        (0, 0),
        (1, 1),
        (8, 8),
        (9, 10),
        (15, 16),
        (17, 18),
        (100, 104),
        (1000, 1024),
        (4097, 4352),
        (10**6, 1015808),
    ],
)
def test_padme__known_lengths__as_computed_by_hand(length: int, padded: int) -> None:
    assert padme(length) == padded


def test_padme__half_a_million_lengths__fall_into_few_sizes() -> None:
    assert len({padme(n) for n in range(2**19 + 1, 2**20 + 1)}) == 32


def test_seal__content_changes_a_little__document_size_does_not() -> None:
    sizes = {len(seal(b"q" * n, CONTEXT, TO_ALL, receipt=RECEIPT)) for n in range(4200, 4300)}
    assert len(sizes) == 1


def test_commit__salt_and_result__is_sha256_of_both() -> None:
    assert commit(SECRET, b"result") == hashlib.sha256(SECRET + b"result").digest()
    assert commit(SECRET, b"").hex() == "ae216c2ef5247a3782c135efa279a3e4cdc61094270f5d2be58c6204b7a612c9"


@pytest.mark.parametrize("salt", [b"", b"\x01" * 16, b"\x01" * 33])
def test_commit__salt_not_32_bytes__refused(salt: bytes) -> None:
    with pytest.raises(SealError, match="salt: must be 32 bytes"):
        commit(salt, b"result")


# --- interop: docs/sealing.md followed with hmac, hashlib and libsodium alone -------------


def derive(content_key: bytes, label: bytes) -> bytes:
    salt = hashlib.sha256(CONTEXT_JSON).digest()
    pseudorandom = hmac.new(salt, content_key, hashlib.sha256).digest()
    return hmac.new(pseudorandom, label + b"\x01", hashlib.sha256).digest()


def associated(content_key: bytes, receipt_json: bytes) -> bytes:
    return CONTEXT_JSON + derive(content_key, b"qscrow/key-commitment/1") + hashlib.sha256(receipt_json).digest()


def raw_encrypt(body: bytes, content_key: bytes, data: dict[str, Any]) -> str:
    box = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        body,
        associated(content_key, b""),
        base64.b64decode(data["nonce"]),
        derive(content_key, b"qscrow/payload-key/1"),
    )
    return base64.b64encode(box).decode()


@pytest.mark.parametrize(("receipt", "receipt_json"), [(None, b""), ({"b": 1, "a": "x"}, b'{"a":"x","b":1}')])
def test_open__by_hand_from_the_documented_format__plaintext(receipt: Any, receipt_json: bytes) -> None:
    data = json.loads(seal(TEXT, CONTEXT, [TO_CLASSIC], receipt=receipt))
    box = base64.b64decode(data["capsules"][0]["wrapped"])
    content_key = base64.b64decode(nacl.bindings.crypto_box_seal_open(box, CLASSIC.public, SECRET))[:32]
    assert data["commitment"] == derive(content_key, b"qscrow/key-commitment/1").hex()
    body = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
        base64.b64decode(data["ciphertext"]),
        associated(content_key, receipt_json),
        base64.b64decode(data["nonce"]),
        derive(content_key, b"qscrow/payload-key/1"),
    )
    # 8 + 30 bytes: E = 5, S = 3, so the last two bits are hidden and 38 becomes 40.
    assert body == len(TEXT).to_bytes(8, "big") + TEXT + bytes(2)


FIXED_DOCUMENT_KEY = bytes(range(32, 64))
GOLDEN_PAYLOAD_KEY = "f7e18d1e14dcd06cd25f0e4c8f679b0772fc932bf491d0df71fdd338bd3e7013"
GOLDEN_COMMITMENT = "23a0a7e903fac18f5d471ba50d342687af60bba438e822eed37f54120ae4d33a"


def test_open_sealed__document_made_by_hand__opens() -> None:
    content = base64.b64encode(FIXED_DOCUMENT_KEY + hashlib.sha256(CONTEXT_JSON + CLASSIC.public).digest())
    data: dict[str, Any] = {
        "type": "qscrow.sealed",
        "version": 1,
        "context": json.loads(CONTEXT_JSON),
        "commitment": derive(FIXED_DOCUMENT_KEY, b"qscrow/key-commitment/1").hex(),
        "capsules": [
            {
                "scheme": "nacl",
                "to": CLASSIC.public.hex(),
                "wrapped": base64.b64encode(nacl.bindings.crypto_box_seal(content, CLASSIC.public)).decode(),
            }
        ],
        "nonce": base64.b64encode(bytes(24)).decode(),
    }
    data["ciphertext"] = raw_encrypt((5).to_bytes(8, "big") + b"hello" + bytes(1), FIXED_DOCUMENT_KEY, data)
    assert open_sealed(json.dumps(data).encode(), CLASSIC, CONTEXT) == b"hello"


def test_commitment__fixed_content_key__golden_values() -> None:
    """Computed once with hmac and hashlib; a changed label, salt or order changes them."""
    assert derive(FIXED_DOCUMENT_KEY, b"qscrow/payload-key/1").hex() == GOLDEN_PAYLOAD_KEY
    from oracle.sealing import sealed

    assert sealed._commitment(FIXED_DOCUMENT_KEY, CONTEXT).hex() == GOLDEN_COMMITMENT


# --- nothing secret is shown ------------------------------------------------------------


def test_errors__every_refusal__hold_no_key_material() -> None:
    sealed = document()
    content_key = unwrap(inspect_sealed(sealed).capsules[0], CLASSIC, CONTEXT)
    data = json.loads(sealed)
    secrets = [SECRET, HYBRID._secret, VALIDATOR._secret, content_key]
    cases = [
        refusal(sealed, SealingKey.from_bytes(b"\x55" * 32)),
        refusal(sealed, context=SealContext("result", CHAIN, CONTRACT, 8, SPEC, PARTY)),
        refusal(document(commitment="00" * 32)),
        refusal(document(receipt={})),
        refusal(sealed[:-9]),
        *(
            refusal(document(capsules=[{**c, "wrapped": flip(c["wrapped"])} for c in data["capsules"]]), key)
            for key in OPENERS
        ),
    ]
    for error in cases:
        shown = f"{error} {error!r} {error.__cause__!r} {vars(error)} {json.dumps(error.as_dict())}"
        for secret in secrets:
            assert secret.hex() not in shown and repr(secret) not in shown
            assert base64.b64encode(secret).decode() not in shown


def test_repr__info_and_context__hold_no_key_material_nor_bulk() -> None:
    info = inspect_sealed(document())
    content_key = unwrap(info.capsules[0], CLASSIC, CONTEXT)
    for shown in (repr(info), str(info), repr(info.context), repr(info.capsules)):
        assert content_key.hex() not in shown and SECRET.hex() not in shown
        assert len(shown) < 2000


# --- fuzz -------------------------------------------------------------------------------

FUZZED = seal(TEXT, CONTEXT, TO_ALL, receipt=RECEIPT)


def assert_same_or_refused(data: bytes) -> None:
    for key in OPENERS:
        try:
            opened = open_sealed(data, key, CONTEXT)
        except SealError:
            continue
        assert opened == TEXT


@settings(max_examples=250, deadline=None)
@given(st.integers(0, len(FUZZED) - 1), st.integers(1, 255))
def test_open_sealed__any_byte_flipped__never_another_plaintext(position: int, change: int) -> None:
    altered = bytearray(FUZZED)
    altered[position] ^= change
    assert_same_or_refused(bytes(altered))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(FUZZED)), st.integers(0, 40), st.binary(max_size=20))
def test_open_sealed__any_piece_replaced__never_another_plaintext(start: int, length: int, piece: bytes) -> None:
    assert_same_or_refused(FUZZED[:start] + piece + FUZZED[start + length :])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(json.loads(FUZZED))), JSON)
def test_open_sealed__field_replaced_by_any_json__never_another_plaintext(name: str, value: Any) -> None:
    assert_same_or_refused(json.dumps({**json.loads(FUZZED), name: value}).encode())


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())))
def test_inspect_sealed__random_bytes_or_json__only_seal_error(data: bytes) -> None:
    with pytest.raises(SealError):
        inspect_sealed(data)


def test_capsule__schemes_of_two_keys_swapped__refused() -> None:
    data = json.loads(FUZZED)
    first, second = data["capsules"][0], data["capsules"][1]
    first["to"], second["to"] = second["to"], first["to"]
    for key in (CLASSIC, VALIDATOR):
        assert refusal(rfc8785.dumps(data), key).field == "capsules"
    assert open_sealed(rfc8785.dumps(data), HYBRID, CONTEXT) == TEXT
    assert isinstance(inspect_sealed(rfc8785.dumps(data)).capsules[0], Capsule)


def test_inspect_sealed__deep_nesting_with_no_recursion_limit__seal_error():
    """py-evm lifts Python's limit for the whole process, and json's own recursion then ends it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**7)
    try:
        with pytest.raises(SealError, match="deep"):
            inspect_sealed(b"[" * 200_000)
    finally:
        sys.setrecursionlimit(before)
