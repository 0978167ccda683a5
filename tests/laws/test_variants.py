"""What holds for every SAE there is."""

import copy
from types import SimpleNamespace

import pytest
import torch
from planted_rows import BATCH, D_SAE, STEPS, D, batch, build, directions, grad, needs_rows, outcome, rows, train

from saelab.metrics import fvu
from saelab.sae import SAE, VARIANTS

pytestmark = pytest.mark.parametrize("variant", VARIANTS)


def seen(variant: str, **changes) -> SAE:
    """An SAE after a few steps, so that no parameter is where it began."""
    sae = build(variant, **changes)
    y = rows(5 * BATCH) @ torch.randn(D, sae.cfg.width_out, generator=torch.Generator().manual_seed(3)) / D**0.5
    train(sae, steps=5, y=y if sae.cfg.transcoder else None)
    return sae


def same_state(a: SAE, b: SAE) -> bool:
    return a.state_dict().keys() == b.state_dict().keys() and all(
        t.equal(b.state_dict()[name]) for name, t in a.state_dict().items()
    )


@pytest.mark.parametrize("changes", [{}, {"d_out": 5}, {"d_out": 5, "skip": True}], ids=["plain", "transcoder", "skip"])
def test_it_survives_saving_and_loading_to_the_bit(variant, changes, tmp_path):
    sae = seen(variant, **changes).eval()
    sae.save(tmp_path, {"hook_name": "blocks.1.hook_resid_post", "rows_from": {"hash": "abc"}})
    again = SAE.load(tmp_path)
    assert type(again) is type(sae)
    assert again.cfg == sae.cfg
    assert again.metadata == {"hook_name": "blocks.1.hook_resid_post", "rows_from": {"hash": "abc"}}
    assert same_state(again, sae)
    assert outcome(again, rows(9)).equal(outcome(sae, rows(9)))
    assert not again.training
    assert [p.stride() for p in again.parameters()] == [p.stride() for p in sae.parameters()]


@pytest.mark.parametrize("changes", [{}, {"apply_b_dec_to_input": False}, {"d_out": 5, "skip": True}])
def test_every_parameter_gets_a_gradient_laid_out_as_itself(variant, changes):
    sae = seen(variant, **changes)
    if sae.reproduces_rows:
        sae.b_dec.detach().add_(0.1)
    x = rows(BATCH, seed=5)
    y = x[:, : sae.cfg.width_out] + 1
    loss = torch.stack(list(sae.loss_terms(batch(x, y if sae.cfg.transcoder else x), 4).values())).sum()
    loss.backward()
    for name, parameter in sae.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert parameter.grad.stride() == parameter.stride(), name


@pytest.mark.parametrize("changes", [{}, {"d_out": 5, "skip": True}], ids=["plain", "skip"])
def test_the_kernels_take_the_step_that_their_definitions_take(variant, changes, monkeypatch):
    monkeypatch.setattr("saelab.sae.parts.DENSE_FROM", 1.0)  # sparse throughout
    sae = seen(variant, **changes).double()
    sae.tokens_since_fired[: D_SAE // 2], sae.dead_after = 10**9, 10**8  # some to be brought back
    x = rows(BATCH, seed=5).double()
    given = batch(x, x[:, : sae.cfg.width_out])
    found = []
    for name in ("cpu", "reference"):
        monkeypatch.setenv("SAELAB_KERNELS", name)
        mine = copy.deepcopy(sae)
        loss = torch.stack(list(mine.loss_terms(given, 4).values())).sum()
        loss.backward()
        found.append([loss.detach(), *(grad(parameter) for parameter in mine.parameters())])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_sparse_code_is_the_dense_one(variant, mode):
    sae = seen(variant).train(mode == "train")
    for x in (rows(97), rows(1), torch.zeros(3, D)):
        with torch.no_grad():
            dense, codes = sae.encode(x), sae.encode_sparse(x)
            assert codes.dense().equal(dense)
            if not sae.reproduces_rows:
                continue
            torch.testing.assert_close(sae.decode(dense), sae.decode_sparse(codes))
            torch.testing.assert_close(sae(x), sae.decode_sparse(codes))


def test_codes_ascend_and_say_where_they_end(variant):
    codes = seen(variant).eval().encode_sparse(rows(97))
    assert codes.n == D_SAE
    assert (codes.val[~codes.mask] == 0).all()
    ascends = codes.idx[:, 1:] > codes.idx[:, :-1]
    assert ascends[codes.mask[:, 1:]].all()


def test_gradients_reach_the_input(variant):
    sae, x = seen(variant).eval(), rows(9).requires_grad_()
    outcome(sae, x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_it_finds_the_planted_directions(variant):
    needs_rows(variant)
    sae = build(variant)
    losses = train(sae)
    closest = (directions() @ sae.eval().W_dec.detach().T).abs().amax(dim=1)  # chance: 0.6
    assert losses[STEPS - 1] < 0.6 * losses[0]
    with torch.no_grad():
        x = rows(2048, seed=9)
        assert fvu(x, sae(x)) < 0.2
        l0 = sae.encode_sparse(x).l0.float().mean()
    if sae.seeks_few:  # else there are other codes as good
        assert closest.mean() > 0.9
        assert 1.5 < l0 < 6


def test_decoder_rows_keep_their_length_and_their_gradient_is_across(variant):
    needs_rows(variant)
    sae = seen(variant)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(D_SAE))
    sae.loss_terms(batch(*[rows(BATCH)] * 2), 4)["reconstruction"].backward()
    sae.project_gradients()
    along = (grad(sae.W_dec) * sae.W_dec).sum(dim=1)
    assert along.abs().max() < 1e-6 * grad(sae.W_dec).norm(dim=1).max() + 1e-9


@pytest.mark.parametrize(
    "changes",
    [{}, {"apply_b_dec_to_input": False}, {"d_out": 5}, {"d_out": D, "skip": True}],
    ids=["plain", "uncentred", "transcoder", "skip"],
)
def test_folding_changes_units_and_nothing_else(variant, changes):
    needs_rows(variant)
    sae = seen(variant, **changes)
    before = copy.deepcopy(sae.state_dict())
    same = not sae.cfg.transcoder
    c = torch.linspace(-3, 3, D)
    c_y, s_y = (c, 0.4) if same else (torch.linspace(1, 2, sae.cfg.width_out), 2.5)
    folded = sae.fold(SimpleNamespace(centre=c, scale=0.4, target_centre=c_y, target_scale=s_y))
    sae.eval()
    x = rows(97, seed=7)
    raw = x / 0.4 + c
    torch.testing.assert_close(folded(raw), sae(x) / s_y + c_y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(folded.encode(raw), sae.encode(x) / s_y, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(folded.W_dec.norm(dim=1), torch.ones(D_SAE))
    assert all(t.equal(before[name]) for name, t in sae.state_dict().items())


def test_a_transcoder_learns_another_site(variant):
    wanted = torch.randn(D, 5, generator=torch.Generator().manual_seed(3)) / D**0.5
    x = rows(100 * BATCH)
    sae = build(variant, d_out=5)
    losses = train(sae, steps=100, x=x, y=x @ wanted)
    assert losses[-1] < 0.7 * losses[0]
    assert sae(x[:7]).shape == (7, 5)


def test_firing_is_counted_in_training_only(variant):
    sae = build(variant)
    x = rows(50)
    sae.loss_terms(batch(x, x), 0)
    fired = sae.encode_sparse(x)
    on = torch.zeros(D_SAE, dtype=torch.bool)
    on[fired.idx[fired.mask & (fired.val > 0)].long()] = True
    assert sae.tokens_since_fired.equal(torch.where(on, 0, 50))
    sae.eval().loss_terms(batch(x, x), 1)
    assert sae.tokens_since_fired.max() <= 50


def test_two_runs_end_with_the_same_bits(variant):
    assert same_state(seen(variant), seen(variant))


def test_a_copy_on_another_path_keeps_its_layout(variant):
    needs_rows(variant)
    assert copy.deepcopy(build(variant)).W_enc.stride() == (1, D)


@pytest.mark.parametrize("changes", [{}, {"target_l0": None}], ids=["as it comes", "no target"])
def test_a_loss_that_is_said_to_be_a_mean_over_rows_is_one(variant, changes):
    if changes and "target_l0" not in VARIANTS[variant].Config.model_fields:
        pytest.skip(f"{variant} knows no target L0")
    sae = seen(variant, **changes).double()
    if not sae.rows_apart:
        pytest.skip("not said")
    x, parts = rows(BATCH, seed=5).double(), [slice(0, 100), slice(100, 130), slice(130, BATCH)]
    whole = copy.deepcopy(sae)
    losses = torch.stack(list(whole.loss_terms(batch(x, x), 4).values())).sum()
    losses.backward()
    found = []
    for part in parts:
        terms = torch.stack(list(sae.loss_terms(batch(x[part], x[part]), 4).values()))
        found.append(len(x[part]) / BATCH * terms.sum())
        found[-1].backward()
    torch.testing.assert_close(torch.stack(found).sum(), losses)
    for name, parameter in sae.named_parameters():
        torch.testing.assert_close(grad(parameter), grad(whole.get_parameter(name)))
