"""Gradients of the model's loss at every site, against the loss itself a little to either side."""

import pytest
import torch

from saelab.contracts import SITE_KINDS, canonical_site

FAMILIES = ["gpt2", "llama"]
CASES = [(family, kind) for family in FAMILIES for kind in SITE_KINDS]
STEP = 0.005  # activations of these models are about 0.1


def summed_loss(lm, ids, lengths):
    loss = lm.loss(ids)
    return sum(row[: length - 1].sum().item() for row, length in zip(loss, lengths.tolist(), strict=True))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_a_gradient_is_what_the_loss_does_when_the_site_moves(models, family, kind, ids):
    lm, site = models[family], canonical_site(f"{kind}.1")
    lengths = torch.tensor([ids.shape[1], ids.shape[1]])
    _, gradients = lm.activations_and_gradients(ids, lengths, [site])
    for t in (0, 3):
        direction = torch.nn.functional.normalize(gradients[site][0, t], dim=0)
        losses = []
        for sign in (1, -1):
            shift = torch.zeros(*ids.shape, lm.d_site(site))
            shift[0, t] = sign * STEP * direction
            with lm.edited({site: lambda rows, start, shift=shift: rows + shift}):
                losses.append(summed_loss(lm, ids, lengths))
        slope = (losses[0] - losses[1]) / (2 * STEP)
        # a loss of about 40 is known to 1e-6 of it
        assert slope == pytest.approx(gradients[site][0, t].norm().item(), rel=0.01, abs=1e-3)


def test_the_activations_are_those_of_a_plain_pass(models, ids):
    lm = models["gpt2"]
    acts, gradients = lm.activations_and_gradients(ids, torch.tensor([7, 7]), lm.sites)
    plain = lm.activations(ids, lm.sites)
    assert list(acts) == list(gradients) == list(lm.sites)
    for site in lm.sites:
        torch.testing.assert_close(acts[site], plain[site])
        assert not acts[site].requires_grad
        assert gradients[site].shape == acts[site].shape


def test_one_site_alone_has_the_gradient_it_has_among_others(models, ids):
    lm, lengths = models["gpt2"], torch.tensor([7, 5])
    _, together = lm.activations_and_gradients(ids, lengths, lm.sites)
    for site in lm.sites:
        _, alone = lm.activations_and_gradients(ids, lengths, [site])
        torch.testing.assert_close(alone[site], together[site])


def test_padding_is_neither_predicted_nor_predicts(models, ids):
    lm, site = models["gpt2"], "blocks.1.hook_resid_post"
    _, padded = lm.activations_and_gradients(ids, torch.tensor([7, 4]), [site])
    _, alone = lm.activations_and_gradients(ids[1:, :4], torch.tensor([4]), [site])
    torch.testing.assert_close(padded[site][1, :4], alone[site][0])
    assert (padded[site][1, 3:] == 0).all()  # the last token's prediction is of padding
    assert (padded[site][0, 6] == 0).all()


def test_nothing_is_left_behind(models, ids):
    lm = models["gpt2"]
    lm.activations_and_gradients(ids, torch.tensor([7, 7]), lm.sites)
    assert all(parameter.grad is None for parameter in lm._hf.parameters())
    assert sum(len(point.fwd_hooks) for point in lm.bridge.hook_dict.values()) == 0
