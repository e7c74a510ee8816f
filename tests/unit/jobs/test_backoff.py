from __future__ import annotations

import pytest

from oracle.jobs.backoff import pause


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.5), (1, 1.0), (3, 4.0), (7, 60.0), (100_000, 60.0)])
def test_pause__failures_in_a_row__doubles_up_to_the_most(failures, seconds):
    assert pause(failures, first=0.5, most=60.0) == seconds
