"""Core's controls: an SAE that gives everything back, and one that gives nothing."""

import pytest
import torch

from saelab.evals import EVALS, Subject
from saelab.metrics import Reconstruction, max_cosine


def measure(sae, lm, store):
    core = EVALS["core"]
    return core.run(Subject.of(sae, lm, store), core.Config.model_validate({"tokens": 150})).values


def test_an_sae_that_gives_its_input_back_recovers_everything(identity, lm, store):
    found = measure(identity, lm, store)
    for name in ("ce_recovered", "ce_recovered_mean", "kl_recovered", "explained_variance", "cosine", "l2_ratio"):
        assert found[name] == pytest.approx(1, abs=1e-4), name
    assert found["explained_variance_legacy"] == pytest.approx(1, abs=1e-4)
    assert found["relative_bias"] == pytest.approx(1, abs=1e-5)
    assert found["kl_spliced"] == pytest.approx(0, abs=1e-5)
    assert found["l0"] == 32


def test_an_sae_that_gives_nothing_back_recovers_nothing(zero, lm, store):
    found = measure(zero, lm, store)
    assert found["ce_recovered"] == pytest.approx(0, abs=1e-4)
    assert found["kl_recovered"] == pytest.approx(0, abs=1e-4)
    assert found["l2_ratio"] == 0
    assert found["explained_variance"] <= 0


def test_what_divides_by_nothing_is_no_number(zero, lm, store):
    core = EVALS["core"]
    result = core.run(Subject.of(zero, lm, store), core.Config.model_validate({"tokens": 150}))
    assert next(f.value for f in result.figures() if f.metric == "relative_bias") is None
    assert result.to_json()["values"]["relative_bias"] is None


def test_the_model_is_run_once_for_core_and_fidelity(identity, lm, store, monkeypatch):
    core, fidelity, subject = EVALS["core"], EVALS["fidelity"], Subject.of(identity, lm, store)
    first = fidelity.run(subject, fidelity.Config(tokens=150))
    monkeypatch.setattr(lm, "logits", lambda ids: pytest.fail("the model was run again"))
    assert core.run(subject, core.Config(tokens=150)).values["ce_spliced"] == first.ce_spliced
    with pytest.raises(pytest.fail.Exception, match="run again"):
        core.run(subject, core.Config(tokens=140))


def test_the_legacy_explained_variance_is_of_batches_and_rows_and_the_correct_one_is_not():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 0.0]])
    x_hat = x + torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    whole, halved = Reconstruction.of(x, x_hat), Reconstruction()
    halved.add(x[:2], x_hat[:2])
    halved.add(x[2:], x_hat[2:])
    assert whole.explained_variance == halved.explained_variance == pytest.approx(1 - 1 / 104)
    assert whole.explained_variance_legacy == pytest.approx(1 - (1 / 36) / 4)  # the mean row is (6, 0)
    assert halved.explained_variance_legacy == pytest.approx(1 - (1 / 1) / 4)  # the batch's mean row is (1, 0)


def test_shrinking_by_half_is_seen_in_length_and_bias():
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    half = Reconstruction.of(x, x / 2)
    assert half.l2_ratio == pytest.approx(0.5) and half.relative_bias == pytest.approx(0.5)
    assert half.cosine == pytest.approx(1)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_the_largest_cosine_is_with_another_feature(at_once):
    W = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])
    assert max_cosine(W, at_once) == pytest.approx(2 / 3)
