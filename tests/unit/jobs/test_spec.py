from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.jobs.canonical import canonical_bytes, digest
from oracle.jobs.errors import InputError
from oracle.jobs.noise import Noise
from oracle.jobs.spec import DEFAULTS, MAX_SPEC_BYTES, check_spec, normalise, parse_draft, parse_spec

REQUESTER = "did:pkh:eip155:31337:0x" + "ab" * 20
CIRCUIT = "ipfs://f01551220" + "cd" * 32
DRAFT = {"budget": {"amount": "0.01 ether"}}

DRAFTS = st.fixed_dictionaries(
    {
        "budget": st.fixed_dictionaries(
            {
                "amount": st.one_of(st.integers(1, 2**96 - 1), st.just("0.5 gwei")),
                "token": st.one_of(st.just("native"), st.integers(0, 2**160 - 1)),
            }
        ),
        "title": st.text(st.characters(blacklist_categories=("Cs",)), max_size=40),
        "job_type": st.sampled_from(["smoke_test", "optimization", "benchmark", "marketplace"]),
        "quantum": st.fixed_dictionaries(
            {
                "shots": st.one_of(st.integers(1, 10**7), st.just(1024.0)),
                "seed": st.one_of(st.none(), st.integers(0, 2**32 - 1)),
                "constraints": st.one_of(
                    st.none(),
                    st.fixed_dictionaries({"max_qubits": st.integers(1, 10_000)}),
                    st.just({"allowed_backends": ["aer", "ibm_torino"]}),
                ),
            }
        ),
        "validation": st.fixed_dictionaries(
            {"threshold": st.one_of(st.just("auto"), st.floats(0, 1, exclude_min=True))}
        ),
    }
)


def spec() -> dict:
    return normalise(DRAFT, requester=REQUESTER, circuit=CIRCUIT)


def changed(path: str, value: object) -> dict:
    document = spec()
    *parents, last = path.split(".")
    section = document
    for parent in parents:
        section = section[parent]
    section[last] = value
    return document


@given(DRAFTS)
def test_parse_spec__canonical_bytes_of_any_spec__is_the_same_spec(draft):
    normal = normalise(draft, requester=REQUESTER, circuit=CIRCUIT)

    data = canonical_bytes(normal)
    parsed = parse_spec(data)

    assert parsed == normal
    assert json.dumps(parsed) == json.dumps(normal)  # also 1 and not 1.0, for those who loop over it
    assert canonical_bytes(parsed) == data


@settings(max_examples=300)
@given(st.data())
def test_parse_spec__one_byte_changed__is_refused_or_another_spec(data):
    original = canonical_bytes(spec())
    position = data.draw(st.integers(0, len(original) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != original[position]))
    altered = original[:position] + bytes([byte]) + original[position + 1 :]

    try:
        parsed = parse_spec(altered)
    except InputError:
        return
    assert parsed != spec()
    assert digest(canonical_bytes(parsed)) == digest(altered) != digest(original)


@pytest.mark.parametrize(
    "respelt",
    [
        lambda data: b" " + data,
        lambda data: data + b"\n",
        lambda data: data.replace(b":1024", b":1024.0"),
        lambda data: data.replace(b":1024", b":1.024e3"),
        lambda data: data.replace(b"native", b"n\\u0061tive"),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode(),
        lambda data: data.replace(b'"version":1}', b'"version":1,"version":1}'),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b'"title":""', b'"title":"\xff"'),
    ],
)
def test_parse_spec__the_same_spec_spelt_otherwise__is_refused(respelt):
    altered = respelt(canonical_bytes(spec()))
    assert altered != canonical_bytes(spec())

    with pytest.raises(InputError):
        parse_spec(altered)


@pytest.mark.parametrize(
    "section",
    [
        "",
        "inputs",
        "quantum",
        "quantum.constraints",
        "budget",
        "timeouts",
        "validation",
        "settlement",
        "privacy",
        "promotion",
    ],
)
def test_check_spec__unknown_field_in_any_section__is_named(section):
    path = f"{section}.surprise".lstrip(".")

    with pytest.raises(InputError, match="unknown field") as refused:
        check_spec(changed(path, 1))

    assert refused.value.field == path


def _every_field(document: dict, prefix: str = "") -> list[str]:
    paths = []
    for key, value in document.items():
        paths.append(prefix + key)
        if isinstance(value, dict):
            paths += _every_field(value, f"{prefix}{key}.")
    return paths


@pytest.mark.parametrize("path", _every_field(spec()))
def test_check_spec__a_field_missing_or_of_no_sensible_type__is_refused(path):
    document = spec()
    *parents, last = path.split(".")
    section = document
    for parent in parents:
        section = section[parent]
    del section[last]

    with pytest.raises(InputError, match="is missing") as refused:
        check_spec(document)
    assert refused.value.field == path

    for wrong in ([[]], {"a": {}}, -1.5, object()):
        with pytest.raises(InputError) as refused:
            check_spec(changed(path, wrong))
        assert refused.value.field.startswith(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("job_type", "mining"),
        ("title", "x" * 121),
        ("title", None),
        ("requester", "0x" + "ab" * 20),
        ("requester", REQUESTER + "\n"),
        ("requester", "did:pkh:eip155:0:0x" + "ab" * 20),
        ("inputs.dataset", "http://example.org"),
        ("quantum.circuit", CIRCUIT.upper()),
        ("quantum.circuit", CIRCUIT + "\n"),
        ("quantum.circuit", "ipfs://f01551220" + "cd" * 31),
        ("quantum.format", "qpy"),
        ("quantum.framework", "cirq"),
        ("quantum.shots", 0),
        ("quantum.shots", -1),
        ("quantum.shots", 10**7 + 1),
        ("quantum.shots", 1.5),
        ("quantum.shots", True),
        ("quantum.shots", "1024"),
        ("quantum.seed", -1),
        ("quantum.seed", 2**32),
        ("quantum.backend_policy", "gpu"),
        ("quantum.constraints.max_qubits", 0),
        ("quantum.constraints.max_queue_minutes", -1),
        ("quantum.constraints.allowed_backends", ["aer", "aer"]),
        ("quantum.constraints.allowed_backends", ["aer\n"]),
        ("quantum.constraints.allowed_backends", ["../aer"]),
        ("quantum.constraints.allowed_backends", [f"b{i}" for i in range(33)]),
        ("quantum.constraints.allowed_backends", "aer"),
        ("budget.amount", 1),
        ("budget.amount", "0"),
        ("budget.amount", "01"),
        ("budget.amount", "-1"),
        ("budget.amount", "1\n"),
        ("budget.amount", "\u0661"),
        ("budget.amount", str(2**96)),
        ("budget.amount", "9" * 30),
        ("budget.token", "0x12"),
        ("budget.token", "native\n"),
        ("timeouts.accept_seconds", 0),
        ("timeouts.deliver_seconds", 10**9),
        ("timeouts.challenge_seconds", -1),
        ("timeouts.challenge_seconds", 60),
        ("validation.method", "vibes"),
        ("validation.threshold", 0),
        ("validation.threshold", 1.01),
        ("validation.threshold", "low"),
        ("settlement.release_on", "challenge"),
        ("privacy.circuit", "secret"),
        ("privacy.capsule", "rot13"),
        ("promotion.require_simulation", 1),
        ("promotion.max_baseline_distance", -0.1),
    ],
)
def test_check_spec__a_value_out_of_bounds__is_refused_with_its_field(path, value):
    with pytest.raises(InputError) as refused:
        check_spec(changed(path, value))

    assert refused.value.field.startswith(path) or path == "timeouts.challenge_seconds"
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("document", [None, [], "spec", 1, {}, [{}]])
def test_check_spec__no_spec_at_all__is_refused(document):
    with pytest.raises(InputError):
        check_spec(document)


def test_check_spec__replay_on_hardware__is_refused():
    document = changed("validation.method", "replay")
    document["quantum"]["backend_policy"] = "any"

    with pytest.raises(InputError, match="replay needs a simulator"):
        check_spec(document)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"NaN",
        b"[" * 60_000,
        b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
        b" " * (MAX_SPEC_BYTES + 1),
        b'{"title":NaN}',
        b'{"title":1e999}',
        b'{"title":' + b"9" * 60_000 + b"}",
    ],
    ids=lambda data: repr(data[:30]),
)
def test_parse_spec__hostile_bytes__are_refused_in_one_line(data):
    with pytest.raises(InputError) as refused:
        parse_spec(data)

    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e-999", b"-0.5"])
def test_parse_spec__no_sensible_threshold__is_refused(number):
    data = canonical_bytes(spec()).replace(b'"threshold":"auto"', b'"threshold":' + number)

    with pytest.raises(InputError):
        parse_spec(data)


# ------------------------------------------------------------------------------------------------ drafts


def test_normalise__shortest_draft__has_every_default():
    normal = spec()

    assert normal["budget"] == {"amount": str(10**16), "token": "native"}
    assert normal["requester"] == REQUESTER
    assert normal["quantum"]["circuit"] == CIRCUIT
    assert normal["timeouts"] == DEFAULTS["timeouts"]


RATES = {"one_qubit": st.floats(0, 1), "two_qubit": st.floats(0, 1), "readout": st.floats(0, 0.5)}


@given(st.fixed_dictionaries({}, optional=RATES))
def test_normalise__any_noise__has_every_rate_and_comes_back_the_same(rates):
    draft = {**DRAFT, "quantum": {"noise": rates}}
    if not any(rates.values()):
        with pytest.raises(InputError, match="every rate is 0; leave it out"):
            normalise(draft, requester=REQUESTER, circuit=CIRCUIT)
        return

    parsed = parse_spec(canonical_bytes(normalise(draft, requester=REQUESTER, circuit=CIRCUIT)))

    assert parsed["quantum"]["noise"] == {"one_qubit": 0, "two_qubit": 0, "readout": 0, **rates}
    assert Noise.of_spec(parsed["quantum"]) == Noise(**rates)
    assert Noise.of_spec(parsed["quantum"]).as_dict() == parsed["quantum"]["noise"]


@pytest.mark.parametrize("quantum", [{}, {"noise": None}])
def test_normalise__no_noise__is_no_field_so_that_digests_stay(quantum):
    normal = normalise({**DRAFT, "quantum": quantum}, requester=REQUESTER, circuit=CIRCUIT)

    assert normal == spec() and "noise" not in normal["quantum"]
    assert not Noise.of_spec(normal["quantum"])


NOISE = {"one_qubit": 0.001, "two_qubit": 0.01, "readout": 0.02}


@pytest.mark.parametrize(
    ("quantum", "validation", "field", "says"),
    [
        ({"noise": {**NOISE, "readout": 0.51}}, {}, "quantum.noise.readout", "at most 0.5"),
        ({"noise": {**NOISE, "two_qubit": 1.01}}, {}, "quantum.noise.two_qubit", "at most 1"),
        ({"noise": {**NOISE, "one_qubit": -0.1}}, {}, "quantum.noise.one_qubit", "at least 0"),
        ({"noise": {**NOISE, "one_qubit": "1e-3"}}, {}, "quantum.noise.one_qubit", "type number"),
        ({"noise": {**NOISE, "one_qubit": True}}, {}, "quantum.noise.one_qubit", "type number"),
        ({"noise": {"tow_qubit": 0.1}}, {}, "quantum.noise.tow_qubit", "did you mean two_qubit"),
        ({"noise": 0.01}, {}, "quantum.noise", "type object"),
        ({"noise": [0.01]}, {}, "quantum.noise", "type object"),
        ({"noise": NOISE, "backend_policy": "ibm"}, {}, "quantum.noise", "set quantum.backend_policy to simulator"),
        ({"noise": NOISE}, {"method": "canary", "commitment": "ab" * 32}, "quantum.noise", "replay, distribution or"),
    ],
)
def test_normalise__noise_that_cannot_be__names_field_and_remedy(quantum, validation, field, says):
    draft = {**DRAFT, "quantum": quantum, "validation": validation}

    with pytest.raises(InputError) as refused:
        normalise(draft, requester=REQUESTER, circuit=CIRCUIT)

    assert refused.value.field == field
    assert says in str(refused.value)


def test_normalise__draft_that_names_other_parties__is_overruled():
    draft = {**DRAFT, "requester": "did:pkh:eip155:1:0x" + "00" * 20, "quantum": {"circuit": "elsewhere.qasm"}}

    normal = normalise(draft, requester=REQUESTER, circuit=CIRCUIT)

    assert normal == spec()


def test_normalise__its_answer_altered__leaves_draft_and_defaults_alone():
    defaults, draft = copy.deepcopy(DEFAULTS), copy.deepcopy(DRAFT)

    normal = normalise(draft, requester=REQUESTER, circuit=CIRCUIT)
    normal["quantum"]["constraints"]["allowed_backends"].append("mine")
    normal["timeouts"]["accept_seconds"] = 1

    assert (defaults, DRAFT) == (DEFAULTS, draft)
    assert spec()["quantum"]["constraints"]["allowed_backends"] == []


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("bugdet: {amount: 1}", "bugdet"),
        ("budget: {amuont: 1}", "budget.amuont"),
        ("budget: {}", "budget.amount"),
        ("budget:", "budget.amount"),
        ("budget: {amount: 1.5}", "budget.amount"),
        ("budget: {amount: -1}", "budget.amount"),
        ("budget: {amount: 0}", "budget.amount"),
        ("budget: {amount: true}", "budget.amount"),
        ("budget: {amount: 1, token: true}", "budget.token"),
        ("budget: {amount: 1, token: -5}", "budget.token"),
        ("budget: 5", "budget"),
        ("quantum: [shots]", "quantum"),
        ("quantum: {shots: .nan}", "quantum.shots"),
        ("quantum: {shots: .inf}", "quantum.shots"),
        ("quantum: {shots: 1e3}", "quantum.shots"),
        ("quantum: {constraints: {max_qbits: 3}}", "quantum.constraints.max_qbits"),
        ("title: 2020-01-01", "title"),
        ("1: 2", "spec"),
        ("yes: 2", "spec"),
        ("timeouts: {7: 2}", "timeouts"),
    ],
)
def test_normalise__mistaken_draft__names_the_field(text, field):
    draft = {**DRAFT, **parse_draft(text.encode())}

    with pytest.raises(InputError) as refused:
        normalise(draft, requester=REQUESTER, circuit=CIRCUIT)

    assert refused.value.field == field


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_normalise__a_threshold_that_is_no_number__is_refused(threshold):
    with pytest.raises(InputError):
        normalise({**DRAFT, "validation": {"threshold": threshold}}, requester=REQUESTER, circuit=CIRCUIT)


def test_normalise__token_as_yaml_reads_it_unquoted__keeps_its_zeros():
    draft = parse_draft(b"budget: {amount: 1, token: 0x00000000000000000000000000000000000000aB}")

    normal = normalise(draft, requester=REQUESTER, circuit=CIRCUIT)

    assert normal["budget"]["token"] == "0x" + "00" * 19 + "ab"


def test_normalise__misspelt_field__suggests_the_right_one():
    with pytest.raises(InputError, match="did you mean shots"):
        normalise({**DRAFT, "quantum": {"shorts": 5}}, requester=REQUESTER, circuit=CIRCUIT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just text",
        b"- a\n- b",
        b"a: b: c",
        b"a: 1\na: 2",
        b"a: {b: 1, b: 2}",
        b"a: &x [1]\nb: *x",
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]",
        b"<<: {a: 1}",
        b"a: !!python/object/apply:os.system [id]",
        b"a: !!python/name:os.system",
        b"a: !custom 1",
        b"!!set {a}",
        b"a: !!bool maybe",
        b"a: !!int ''",
        b"a: !!timestamp x",
        b"a: !!binary '*'",
        b"a: 2020-99-99",
        b"a: 0x_",
        b"a: =",
        b"? [1]\n: 2",
        b"? {a: 1}\n: 2",
        b"1.5: 2",
        b"a: 0x" + b"f" * 60_000,
        b"a: " + b"9" * 60_000,
        b"a: \xff",
        b"a: \x00",
        b"[" * 60_000,
        b"a: " + b"{b: " * 10_000,
        b"\t- a",
        b"a: 1\n---\nb: 2",
        b"#" * (MAX_SPEC_BYTES + 1),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_parse_draft__hostile_or_broken_yaml__is_refused_in_one_line(data):
    with pytest.raises(InputError) as refused:
        parse_draft(data)

    assert refused.value.field == "spec"
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@settings(max_examples=200)
@given(st.text("a:-[]{}&*!?|>'\"%@#=<~0x_.e+\n ", max_size=30))
def test_parse_draft__any_text__is_a_mapping_or_refused(text):
    try:
        draft = parse_draft(text.encode())
        normalise({**draft, **DRAFT}, requester=REQUESTER, circuit=CIRCUIT)
    except InputError:
        pass


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("confidence", 0.95, 1),
        ("min_polarisation", 0.4, 0),
        ("commitment", "ab" * 32, "0x" + "ab" * 32),
    ],
)
def test_check_spec__optional_figures_of_validation__are_taken_within_their_range(name, good, bad):
    check_spec(changed(f"validation.{name}", good))
    with pytest.raises(InputError, match=name):
        check_spec(changed(f"validation.{name}", bad))


WITNESS = [[["ZZ", 1], ["XX", -0.5]]]


@pytest.mark.parametrize(
    "quantum",
    [
        {"format": "qscrow-json"},
        {"result": "counts"},
        {"result": "memory", "format": "openqasm2"},
        {"result": "expectation", "observables": WITNESS},
        {"result": "expectation", "format": "qscrow-json"},
    ],
)
def test_normalise__kinds_of_results__are_taken_and_kept(quantum):
    normal = normalise({**DRAFT, "quantum": quantum}, requester=REQUESTER, circuit=CIRCUIT)
    assert {name: normal["quantum"][name] for name in quantum} == quantum
    assert parse_spec(canonical_bytes(normal)) == normal


def test_normalise__draft_without_a_kind_of_result__says_nothing_of_it():
    assert not {"result", "observables"} & spec()["quantum"].keys()


@pytest.mark.parametrize(
    ("quantum", "field"),
    [
        ({"result": "density"}, "quantum.result"),
        ({"result": "expectation"}, "quantum.observables"),
        ({"observables": WITNESS}, "quantum.observables"),
        ({"result": "memory", "observables": WITNESS}, "quantum.observables"),
        ({"result": "expectation", "observables": []}, "quantum.observables"),
        ({"result": "expectation", "observables": [[]]}, "quantum.observables.0"),
        ({"result": "expectation", "observables": [[["ZQ", 1]]]}, "quantum.observables.0.0.0"),
        ({"result": "expectation", "observables": [[["ZZ\n", 1]]]}, "quantum.observables.0.0.0"),
        ({"result": "expectation", "observables": [[["ZZ", 1e99]]]}, "quantum.observables.0.0.1"),
        ({"result": "expectation", "observables": [[["ZZ", "1"]]]}, "quantum.observables.0.0.1"),
        ({"result": "expectation", "observables": [[["ZZ"]]]}, "quantum.observables.0.0"),
        ({"result": "expectation", "observables": [[["ZZ", 1, 2]]]}, "quantum.observables.0.0"),
        ({"format": "qpy"}, "quantum.format"),
    ],
)
def test_normalise__kind_of_result_that_does_not_fit__names_the_field(quantum, field):
    with pytest.raises(InputError) as caught:
        normalise({**DRAFT, "quantum": quantum}, requester=REQUESTER, circuit=CIRCUIT)
    assert caught.value.field == field
