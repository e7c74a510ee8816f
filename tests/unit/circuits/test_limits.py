from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.circuits.limits import MAX_SECONDS, MAX_VALUE, CircuitLimits
from oracle.jobs.errors import InputError

NAMES = [field.name for field in fields(CircuitLimits)]


def test_from_mapping__nothing__gives_defaults() -> None:
    assert CircuitLimits.from_mapping({}) == CircuitLimits()


def test_from_mapping__values__overlay_defaults() -> None:
    limits = CircuitLimits.from_mapping({"qubits": 12, "shots": 5})
    assert (limits.qubits, limits.shots, limits.clbits) == (12, 5, CircuitLimits().clbits)


def test_from_mapping__unknown_name__is_named() -> None:
    with pytest.raises(InputError) as caught:
        CircuitLimits.from_mapping({"qbits": 1})
    assert caught.value.field == "limits.qbits"
    assert "qubits" in (caught.value.remedy or "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 1.5, "9", True, None, float("nan")])
def test_from_mapping__unusable_value__names_the_field(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        CircuitLimits.from_mapping({name: value})
    assert caught.value.field == f"limits.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_from_mapping__beyond_bound__is_refused_and_bound_is_taken(name: str) -> None:
    bound = MAX_SECONDS if name.endswith("_seconds") else MAX_VALUE
    assert getattr(CircuitLimits.from_mapping({name: bound}), name) == bound
    with pytest.raises(InputError):
        CircuitLimits.from_mapping({name: bound + 1})


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, MAX_SECONDS)))
def test_as_dict__any_limits__round_trips(values: dict[str, int]) -> None:
    limits = CircuitLimits.from_mapping(values)
    assert CircuitLimits.from_mapping(limits.as_dict()) == limits
