"""Bilinear: the loss is that of the products written out, for every kind, and nothing pretends to an x_hat."""

import math
from types import SimpleNamespace

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.kernels.gram_form import cpu
from saelab.metrics import hoyer_density
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.train import OptimiserConfig
from saelab.train.evaluate import evaluate
from saelab.train.optimise import Optimiser

KINDS = ["vanilla", "ordered", "mixed", "combined"]
D, F = 7, 40


def build(kind="vanilla", d_in=D, d_sae=F, **more):
    torch.manual_seed(0)
    return VARIANTS["bilinear"](
        sae_config({"variant": "bilinear", "kind": kind, "d_in": d_in, "d_sae": d_sae, "hoyer": 0.0, **more})
    )


def grown(kind, **more):
    """Weights of the size they have after training: at the start X_hat is next to nothing."""
    sae = build(kind, **more)
    with torch.no_grad():
        sae.left.mul_(2).add_(0.3 * torch.randn(F, D))
        sae.right.mul_(2).add_(0.3 * torch.randn(F, D))
    return sae


def east_north(**more):
    """l, r: (east, north), (east, east)."""
    sae = build(d_in=2, d_sae=2, **more)
    with torch.no_grad():
        sae.left.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        sae.right.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    return sae


def written_out(sae, x):
    """|X - X_hat|^2 of every row and every prefix of latents, [rows, F], as vectors of d^2 numbers in fp64."""
    u = torch.nn.functional.normalize(x.double(), dim=1)
    left, right = sae.left.double(), sae.right.double()
    f = (u @ left.t()) * (u @ right.t())
    g = f if sae.down is None else f @ sae.down.double().t() @ sae.down.double()
    products = torch.einsum("jd,je->jde", left, right).flatten(1)
    made = (g.unsqueeze(2) * products).cumsum(dim=1)  # [rows, F, d^2]
    return ((u.unsqueeze(2) * u.unsqueeze(1)).flatten(1).unsqueeze(1) - made).square().sum(dim=2)


def test_a_latent_is_the_product_of_two_cosines_whatever_the_length_of_the_row():
    sae = east_north()
    wanted = torch.tensor([[0.48, 0.36]])
    torch.testing.assert_close(sae.encode(torch.tensor([[3.0, 4.0]])), wanted)
    torch.testing.assert_close(sae.encode(torch.tensor([[-30.0, -40.0]])), wanted)
    assert sae.encode(torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]


def test_the_loss_by_hand():
    """X = [[.36, .48], [.48, .64]], X_hat = [[.36, .48], [0, 0]]: .48^2 + .64^2 = .64."""
    x = torch.tensor([[3.0, 4.0]])
    assert east_north().loss_terms(Batch(x, x), 0)["reconstruction"].item() == pytest.approx(0.64)


@pytest.mark.parametrize("tile", [512, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_products_written_out(kind, tile, monkeypatch):
    monkeypatch.setattr(cpu, "TILE", tile)
    sae, x = grown(kind), torch.randn(50, D)
    errors = written_out(sae, x)
    wanted = errors.mean() if kind in ("ordered", "combined") else errors[:, -1].mean()
    found = sae.loss_terms(Batch(x, x), 0)["reconstruction"]
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_is_that_of_the_products_written_out(kind):
    sae, x = grown(kind).double(), torch.randn(50, D).double()
    errors = written_out(sae, x)
    wanted = torch.autograd.grad(
        (errors if kind in ("ordered", "combined") else errors[:, -1]).mean(), sae.parameters()
    )
    found = torch.autograd.grad(sae.loss_terms(Batch(x, x), 0)["reconstruction"], sae.parameters())
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_figures_are_shares_of_the_whole_and_do_not_depend_on_the_batch(kind):
    sae, x = grown(kind), torch.randn(50, D) + 3
    figures = evaluate(sae, x, x, 50)
    assert figures.own["unexplained"] == pytest.approx(written_out(sae, x)[:, -1].mean().item(), rel=1e-5)
    assert evaluate(sae, x, x, 7).own == pytest.approx(figures.own, rel=1e-5)
    assert (figures.fvu, figures.cosine, figures.l0, figures.dead_share) == (None, None, None, None)


def test_all_products_explain_everything_and_none_explain_nothing():
    sae, x = build(d_in=3, d_sae=9), torch.randn(20, 3)
    with torch.no_grad():
        sae.left.copy_(torch.eye(3).repeat_interleave(3, dim=0))
        sae.right.copy_(torch.eye(3).repeat(3, 1))
    assert sae.own_figures(x, 20)["unexplained"] == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        sae.left.zero_()
    assert sae.own_figures(x, 20) == {"unexplained": 1.0, "density": 0.0}


def test_density_is_0_for_a_latent_of_one_row_and_1_for_one_of_all_rows():
    f = torch.tensor([[3.0, 2.0, 0.0, 1.0], [0.0, -2.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    found = hoyer_density(f.abs().sum(dim=0), f.square().sum(dim=0), 4)
    assert found.tolist() == pytest.approx([0.0, 1.0, 0.0, math.sqrt(2) - 1])  # (2 / sqrt 2 - 1) / (2 - 1)


def test_the_penalty_is_the_mean_density_and_rises_from_0():
    """cos^2 on rows at 0, 90 and 45 degrees: 1, 0, 1/2; times sin: 0, 0, 1/2."""
    sae, x = east_north(hoyer=0.5, warmup=0.5), torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    sae.total_steps = 8
    densities = [0.0, (1.5 / math.sqrt(1.25) - 1) / (math.sqrt(3) - 1)]
    terms = [sae.loss_terms(Batch(x, x), step)["hoyer"].item() for step in (0, 2, 4, 8)]
    assert terms == pytest.approx([share * 0.5 * sum(densities) / 2 for share in (0, 0.5, 1, 1)])


def test_one_row_alone_has_density_0():
    x = torch.tensor([[3.0, 4.0]])
    assert east_north(hoyer=1.0).loss_terms(Batch(x, x), 0)["hoyer"].item() == pytest.approx(0, abs=1e-6)


def test_folding_moves_the_mean_and_changes_no_latent():
    sae, x = grown("mixed"), torch.randn(50, D)
    centre = torch.linspace(-3, 3, D)
    folded = sae.fold(SimpleNamespace(centre=centre, scale=0.4, target_centre=centre, target_scale=0.4))
    torch.testing.assert_close(folded.encode(x / 0.4 + centre), sae.encode(x), rtol=1e-5, atol=1e-6)
    assert sae.mean.abs().max() == 0 and not folded.training


def test_what_needs_rows_is_told_that_there_are_none(tmp_path):
    sae, x = build().eval(), torch.randn(3, D)
    for asked in (sae, lambda x: sae.decode(sae.encode(x)), lambda x: sae.decode_sparse(sae.encode_sparse(x))):
        with pytest.raises(CheckpointError, match="a bilinear SAE has no W_dec and no x_hat"):
            asked(x)
    sae.save(tmp_path)
    assert SAE.load(tmp_path).encode(x).equal(sae.encode(x))
    with pytest.raises(CheckpointError, match="an index needs an SAE that reproduces rows"):
        SAE.load(tmp_path).require_rows("an index")
    assert '"architecture": "bilinear"' in (tmp_path / "cfg.json").read_text()


@pytest.mark.parametrize("kind", ["vanilla", "mixed"])
def test_rows_have_a_bottleneck_s_number_of_composites(kind):
    assert (build(kind).down is None) == (kind == "vanilla")
    assert build("mixed").down.shape == (2 * D, F)
    assert build("mixed", d_sae=10).down.shape == (5, 10)
    assert build("mixed", bottleneck=3).down.shape == (3, F)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"d_out": 3}, "can be no transcoder; leave target, transcoder, d_out, skip"),
        ({"apply_b_dec_to_input": False}, "it has no b_dec"),
        ({"bottleneck": 4}, "bottleneck = 4 with kind = 'vanilla'"),
        ({"kind": "mixed", "bottleneck": 99}, "bottleneck = 99 with kind = 'mixed' and d_sae = 40: .* at most d_sae"),
        ({"kind": "sorted"}, "vanilla"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        sae_config({"variant": "bilinear", "d_in": D, "d_sae": F, **changes})


def test_no_tensor_of_a_step_is_d_squared_per_row_or_d_sae_squared(monkeypatch):
    """Rows 64, d 32, d_sae 300, tiles of 16: beside the code itself nothing is larger than the weights."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.numel = max([self.numel, *(t.numel() for t in torch.utils._pytree.tree_leaves(out))])
            return out

    monkeypatch.setattr(cpu, "TILE", 16)
    sae, x = build("combined", 32, 300), torch.randn(64, 32)
    optimiser = Optimiser(sae, OptimiserConfig.model_validate({"lr": 1e-3}))
    with Largest() as largest, optimiser.gradients():
        sae.loss_terms(Batch(x, x), 0)["reconstruction"].backward()
    assert largest.numel <= max(64 * 300, 2 * 32 * 300)
