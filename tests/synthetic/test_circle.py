"""A circle in a plane, and what a bilinear SAE makes of it."""

import pytest
import torch

from saelab.prove.fit import fit
from saelab.sae.forms import axes, form, leading, principal_cosines
from saelab.synthetic import bed


def test_points_lie_on_the_circle_and_all_around_it():
    circle = bed({"bed": "circle", "sparse": 0, "noise": 0, "radius": 2.0})
    at = circle.draw(4000, 1).x @ circle.plane.t()
    torch.testing.assert_close(at.norm(dim=1), torch.full((4000,), 2.0))
    torch.testing.assert_close(circle.plane @ circle.plane.t(), torch.eye(2), atol=1e-6, rtol=0)
    assert at.mean(dim=0).abs().max() < 0.12  # 4 standard errors of 2 / sqrt 2 / sqrt 4000, rounded up


def test_two_half_axes_of_the_circle_fire_and_few_others():
    circle = bed({"bed": "circle"})
    on = circle.draw(20_000, 1).f > 0
    assert (on[:, :4].sum(dim=1) == 2).all()
    assert not (on[:, 0] & on[:, 2]).any() and not (on[:, 1] & on[:, 3]).any()
    assert on[:, 4:].double().mean().item() == pytest.approx(0.05, rel=0.03)  # 240,000 draws
    assert (circle.parent == -1).all()


def test_a_bilinear_sae_finds_the_plane():
    fitted = fit("circle", 0, steps=150, variant="bilinear", kind="mixed", d_sae=64, train=(("beta2", 0.99),))
    first = form(fitted.sae, leading(fitted.sae, fitted.bed.draw(2048, 1).x)[0])
    assert principal_cosines(axes(first, 2).vectors, fitted.bed.plane).min() > 0.98
