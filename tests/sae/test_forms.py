"""Forms of bilinear latents whose axes can be written down."""

import pytest
import torch

from saelab.sae import VARIANTS, sae_config
from saelab.sae.forms import axes, form, latent, leading, prefix_errors, principal_cosines, similarities

D, F = 5, 12


def build(kind="vanilla"):
    torch.manual_seed(0)
    sae = VARIANTS["bilinear"](sae_config({"variant": "bilinear", "kind": kind, "d_in": D, "d_sae": F}))
    with torch.no_grad():
        sae.left.add_(torch.randn(F, D))
        sae.right.add_(torch.randn(F, D))
    return sae.eval()


def first_latent(left, right):
    """An SAE whose latent 0 has these vectors."""
    sae = build()
    with torch.no_grad():
        sae.left[0], sae.right[0] = torch.tensor(left), torch.tensor(right)
    return sae


def test_a_latent_is_its_form_on_rows_of_length_1():
    sae, x = build(), torch.randn(20, D)
    u = sae.unit(x)
    by_form = torch.stack([torch.einsum("bd,de,be->b", u, latent(sae, j), u) for j in range(F)], dim=1)
    torch.testing.assert_close(by_form, sae.encode(x))
    assert latent(sae, 3).equal(latent(sae, 3).t())


def test_a_composite_is_the_form_of_its_row_of_the_bottleneck():
    sae, x = build("mixed"), torch.randn(20, D)
    u = sae.unit(x)
    wanted = (sae.encode(x) @ sae.down.t())[:, 2]
    torch.testing.assert_close(torch.einsum("bd,de,be->b", u, form(sae, sae.down[2]), u), wanted)


def test_axes_by_hand():
    """l = 3 e_0, r = 4 e_1: x_0 x_1 times 12 is 6 (((x_0 + x_1)^2 - (x_0 - x_1)^2) / 2), eigenvalues +-6."""
    found = axes(latent(first_latent([3.0, 0, 0, 0, 0], [0, 4.0, 0, 0, 0]), 0), 2)
    assert found.values.abs().tolist() == pytest.approx([6, 6]) and found.values.sum().item() == pytest.approx(
        0, abs=1e-5
    )
    torch.testing.assert_close(principal_cosines(found.vectors, torch.eye(D)[:2]), torch.ones(2).double())
    assert principal_cosines(found.vectors, torch.eye(D)[1:3]).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_a_square_has_one_axis():
    found = axes(latent(first_latent([0, 0, 2.0, 0, 0], [0, 0, 2.0, 0, 0]), 0))
    assert found.values.tolist() == pytest.approx([4, 0, 0], abs=1e-6)
    assert found.vectors[0].abs().tolist() == pytest.approx([0, 0, 1, 0, 0], abs=1e-6)


def test_similarities_are_cosines_of_the_forms_written_out():
    sae = build()
    forms = torch.stack([latent(sae, j).flatten() for j in range(F)])
    forms = forms / forms.norm(dim=1, keepdim=True)
    torch.testing.assert_close(similarities(sae), forms @ forms.t())


@pytest.mark.parametrize("kind", ["vanilla", "mixed"])
def test_prefixes_end_at_the_share_that_is_unexplained_and_begin_at_1(kind):
    sae, x = build(kind), torch.randn(50, D)
    errors = prefix_errors(sae, x, step=5)
    assert errors[0] == 1 and len(errors) == F + 1
    assert errors[-1].item() == pytest.approx(sae.own_figures(x, 50)["unexplained"], rel=1e-5)
    with torch.no_grad():
        if sae.down is None:
            sae.left[4:] = 0
            assert errors[4].item() == pytest.approx(sae.own_figures(x, 50)["unexplained"], rel=1e-5)


def test_leading_composites_do_not_change_when_the_bottleneck_is_rotated():
    sae, x = build("mixed"), torch.randn(200, D)
    before = leading(sae, x, 2)
    with torch.no_grad():
        sae.down.copy_(torch.linalg.qr(torch.randn(len(sae.down), len(sae.down))).Q @ sae.down)
    after = leading(sae, x, 2)
    torch.testing.assert_close((before * after).sum(dim=1).abs(), before.norm(dim=1) * after.norm(dim=1))


def test_of_latents_that_never_meet_the_leading_one_is_the_largest():
    sae = build()
    with torch.no_grad():
        sae.left.zero_()
        sae.right.zero_()
        for j in range(D):
            sae.left[j, j] = sae.right[j, j] = 1.0 + (j == 3)
    found = leading(sae, torch.eye(D))[0].abs()
    assert found.tolist() == pytest.approx([float(j == 3) for j in range(F)], abs=1e-6)
