"""Codes of an orthonormal dictionary are as long as their rows."""

import pytest

from saelab.errors import EvalSkipped
from saelab.evals import EVALS, Subject

eps_lbo = EVALS["eps_lbo"]


def figures(sae, lm, store):
    return {f.metric: f.value for f in eps_lbo.run(Subject.of(sae, lm, store), eps_lbo.Config()).figures()}


def test_orthonormal_features_need_no_overlap(identity, lm, store):
    found = figures(identity, lm, store)
    assert found["eps_lbo"] == pytest.approx(0, abs=1e-6)
    assert found["length_ratio"] == pytest.approx(1, abs=1e-5)


def test_codes_twice_as_long_are_told(identity, lm, store):
    identity.W_enc.data *= 2
    found = figures(identity, lm, store)
    assert found["length_ratio"] == pytest.approx(2, abs=1e-5) and found["length_gap"] == pytest.approx(1, abs=1e-5)
    assert found["eps_lbo"] == pytest.approx((4 - 1) / (63 * 4), rel=1e-4)  # ||x|^2 - 4|x|^2| / (63 * 4 |x|^2)


def test_an_sae_that_is_silent_is_refused(identity, lm, store):
    identity.b_enc.data -= 1e6
    with pytest.raises(EvalSkipped, match="no feature fires"):
        figures(identity, lm, store)
