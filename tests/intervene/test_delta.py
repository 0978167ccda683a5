import pytest
import torch

from saelab.errors import CheckpointError, InterventionError
from saelab.intervene import feature_edits, sites
from saelab.intervene.delta import activations, everywhere

ALL = everywhere(torch.tensor([False, True, True]))  # position 0 is a BOS


def test_only_the_chosen_feature_moves_and_the_error_term_stays(sae):
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    (edit,) = feature_edits(sae, [5], lambda f: 2.0 - f, ALL).values()
    moved = edit(x, 0) - x
    f = sae.encode(x[0])[:, 5]
    assert torch.allclose(moved[0, 1:], (2.0 - f[1:, None]) * sae.W_dec[5], atol=1e-6)
    assert moved[0, 0].abs().max() == 0  # the BOS


def test_activations_are_those_of_the_dense_code(sae):
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    chosen = torch.tensor([3, 0, 15])
    assert torch.equal(activations(sae, x, chosen), sae.encode(x.flatten(0, 1))[:, chosen].reshape(2, 3, 3))


def test_positions_count_on_from_where_the_tensor_starts(sae):
    x = torch.zeros(1, 1, 32)
    (edit,) = feature_edits(sae, [5], lambda f: 1.0 - f, lambda at: (at == 7).unsqueeze(-1)).values()
    assert edit(x, 6).abs().max() == 0
    assert torch.allclose(edit(x, 7)[0, 0], sae.W_dec[5])


def test_a_transcoder_is_read_at_its_input_and_written_at_its_output(transcoder):
    x, y = torch.randn(1, 3, 32), torch.randn(1, 3, 32)
    edits = feature_edits(transcoder, [2], lambda f: 1.0 - f, ALL)
    assert list(edits) == ["blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"]
    look, add = edits.values()
    assert look(x, 0) is x
    f = transcoder.encode(x[0])[:, 2]
    assert torch.allclose(add(y, 0)[0, 1:], y[0, 1:] + (1.0 - f[1:, None]) * transcoder.W_dec[2], atol=1e-6)


def test_an_sae_that_names_no_site_is_refused(sae_at):
    sae = sae_at()
    sae.metadata = {}
    with pytest.raises(CheckpointError, match="names no site"):
        sites(sae)


@pytest.mark.parametrize("feature", [-1, 16])
def test_a_feature_the_sae_does_not_have_is_refused(sae, feature):
    with pytest.raises(InterventionError, match=f"no feature {feature}: this SAE has 16, from 0 to 15"):
        feature_edits(sae, [feature], lambda f: f, ALL)


def test_no_feature_is_refused(sae):
    with pytest.raises(InterventionError, match="no feature was named"):
        feature_edits(sae, [], lambda f: f, ALL)
