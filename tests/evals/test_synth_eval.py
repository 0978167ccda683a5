"""The true dictionary scores 1, a random one the floor; an SAE of a model's rows is refused."""

import pytest
import torch
from bed_rows import random_rows

from saelab.errors import EvalSkipped
from saelab.evals import EVALS, Subject
from saelab.sae import VARIANTS, sae_config
from saelab.synthetic import bed

synth = EVALS["synth"]
BED = {"bed": "easy", "n": 256, "d": 128, "p": 0.03}


def figures(W_dec: torch.Tensor) -> dict[str, float]:
    n, d = W_dec.shape
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": d, "d_sae": n, "k": 8})).eval()
    sae.W_dec.data, sae.W_enc.data = W_dec, W_dec.t()
    sae.metadata = {"hook_name": "blocks.0.hook_resid_post", "model_name": "synthetic-easy"}
    sae.metadata["harvest"] = {**BED, "rows": 100, "heldout_rows": 10, "context": 256}
    result = synth.run(_subject(sae), synth.Config.model_validate({"rows": 1024}))
    return {figure.metric: figure.value for figure in result.figures()}


def _subject(sae) -> Subject:
    def never():
        raise AssertionError("synthetic rows need neither a model nor a store")

    return Subject(sae, "one", never, never)


def test_the_true_dictionary_has_an_mcc_of_one():
    found = figures(bed(BED).features)
    assert found["mcc"] == pytest.approx(1, abs=1e-5) and found["uniqueness"] == 1
    assert found["f1"] > 0.7  # the transpose encodes features that overlap


def test_a_random_dictionary_is_at_the_printed_floor():
    found = figures(torch.from_numpy(random_rows(256, 128, seed=7)))
    assert found["mcc"] == pytest.approx(found["mcc_floor"], abs=0.01)
    assert found["mcc_floor"] == pytest.approx(0.252, abs=0.01)


def test_an_sae_of_a_models_rows_is_refused(identity):
    with pytest.raises(EvalSkipped, match="synthetic rows"):
        synth.run(_subject(identity), synth.Config())


def test_a_language_model_is_never_looked_for_behind_synthetic_rows(identity):
    identity.metadata["model_name"] = "synthetic-easy"
    with pytest.raises(EvalSkipped, match=r"needs a language model; the rows are synthetic \(easy\)"):
        _ = _subject(identity).lm
