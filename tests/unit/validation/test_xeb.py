from __future__ import annotations

import numpy as np
import pytest

from oracle.jobs.errors import InputError
from oracle.validation.verdict import Outcome
from oracle.validation.xeb import judge_xeb


def judged(p, counts):
    probabilities = {key: float(p[int(key, 2)]) for key in counts}
    return judge_xeb(counts, probabilities, float(p @ p))


def test_judge_xeb__own_outcomes__are_accepted_and_noise_rejected(random_output, draw, rng):
    p = random_output(10)
    assert judged(p, draw(p, 4000, rng)).outcome == Outcome.ACCEPT
    assert judged(p, draw(np.full(1024, 1 / 1024), 4000, rng)).outcome == Outcome.REJECT


def test_judge_xeb__score__is_the_share_of_signal(random_output, draw, rng):
    p = random_output(10)
    scores = [judged(p, draw(0.7 * p + 0.3 / 1024, 4000, rng)).checks[0].statistic for _ in range(50)]
    assert np.mean(scores) == pytest.approx(0.7, abs=0.03)


def test_judge_xeb__few_shots_or_no_signal__is_inconclusive(random_output, draw, rng):
    p = random_output(10)
    assert judged(p, draw(p, 10, rng)).outcome == Outcome.INCONCLUSIVE
    flat = np.full(16, 1 / 16)
    assert judged(flat, draw(flat, 1000, rng)).outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "probabilities, moment", [({}, 0.5), ({"0": 2.0}, 0.5), ({"0": float("nan")}, 0.5), ({"0": 1.0}, 0)]
)
def test_judge_xeb__impossible_numbers__are_refused(probabilities, moment):
    with pytest.raises(InputError):
        judge_xeb({"0": 5}, probabilities, moment)
