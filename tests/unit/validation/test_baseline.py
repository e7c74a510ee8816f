from __future__ import annotations

import numpy as np
import pytest

from oracle.jobs.errors import InputError
from oracle.validation.baseline import Baseline
from oracle.validation.counts import Counts


def test_exact__mapping_and_array__mean_the_same():
    array, mapping = Baseline.exact(np.array([0.5, 0, 0, 0.5])), Baseline.exact({"00": 0.5, "11": 0.5})
    assert mapping.probabilities.tolist() == array.probabilities.tolist()
    assert (array.support, array.size, array.shots) == (2, 4, None)


@pytest.mark.parametrize(
    "bad",
    [
        np.array([0.5, 0.4]),
        np.array([1.5, -0.5]),
        np.array([np.nan, 1.0]),
        np.array([0.3, 0.3, 0.4]),
        np.array([1.0]),
        np.ones((2, 2)) / 4,
        {},
        {"0": 0.5, "11": 0.5},
        {"0": True},
        {"0": float("inf")},
        {"2": 1.0},
        {1: 1.0},
    ],
)
def test_exact__not_a_distribution__is_refused(bad):
    with pytest.raises(InputError, match="baseline"):
        Baseline.exact(bad)


def test_parse__each_kind__is_read():
    head = {"type": "qscrow.baseline", "version": 1}
    assert Baseline.parse({**head, "probabilities": {"0": 0.25, "1": 0.75}}).shots is None
    assert Baseline.parse({**head, "counts": {"0": 1, "1": 3}}).shots == 4


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {"type": "qscrow.baseline", "version": 2},
        {"type": "qscrow.baseline", "version": 1},
        {"type": "qscrow.baseline", "version": 1, "counts": {"0": 1}, "probabilities": {"0": 1}},
        {"type": "qscrow.baseline", "version": 1, "counts": [1]},
    ],
)
def test_parse__other_documents__are_refused(bad):
    with pytest.raises(InputError, match="baseline"):
        Baseline.parse(bad)


def test_locate__wide_baseline__finds_known_outcomes_only():
    wide = Baseline.exact({"0" * 40: 0.5, "1" * 40: 0.5})
    counts = Counts.parse({"0" * 40: 1, "1" * 40: 1, "01" * 20: 1})
    assert wide.locate(counts).tolist() == [0, -1, 1]
    with pytest.raises(InputError, match="40"):
        wide.locate(Counts.parse({"0": 1}))


def test_with_readout_error__flips_each_bit__keeps_the_total():
    flipped = Baseline.exact({"00": 1.0}).with_readout_error(0.1).probabilities
    assert flipped == pytest.approx([0.81, 0.09, 0.09, 0.01])


def test_with_readout_error__too_wide__is_refused():
    with pytest.raises(InputError, match="too wide"):
        Baseline.exact({"0" * 40: 1.0}).with_readout_error(0.1)


def test_unseen__outcomes_seen_once__is_their_share():
    assert Baseline.sampled({"00": 1, "01": 1, "11": 8}).unseen == pytest.approx(0.2)
