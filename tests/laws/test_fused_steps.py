"""The fused path takes the steps that the definitions take: of the kernels, and of the optimiser."""

import copy

import pytest
import torch
from planted_rows import BATCH, D_SAE, batch, build, needs_rows, rows
from torch.utils._python_dispatch import TorchDispatchMode

from saelab.kernels.encode_select import cpu, rules
from saelab.sae import SAE, VARIANTS
from saelab.train import OptimiserConfig
from saelab.train.optimise import Optimiser

STEPS, RATE = 50, 3e-3
pytestmark = pytest.mark.parametrize("variant", VARIANTS)


def fifty_steps(sae: SAE, x: torch.Tensor, **settings) -> tuple[SAE, list[float]]:
    """Trained on the rows of `x` in turn; the loss of every step."""
    sae = copy.deepcopy(sae)
    optimiser, losses = Optimiser(sae, OptimiserConfig.model_validate({"lr": RATE, **settings})), []
    sae.total_steps = STEPS
    for step in range(STEPS):
        part = x[step * BATCH : (step + 1) * BATCH]
        with optimiser.gradients():
            loss = torch.stack(list(sae.loss_terms(batch(part, part[:, : sae.cfg.width_out]), step).values())).sum()
            loss.backward()
        optimiser.step(RATE * (1 - step / STEPS), step)
        losses.append(loss.item())
    return sae, losses


def with_dead_features(variant: str, **changes) -> SAE:
    """A quarter of the features are dead from the start and stay so for as long as they do not fire."""
    sae = build(variant, **changes)
    sae.tokens_since_fired[: D_SAE // 4], sae.dead_after = 10**9, 10**8
    return sae


@pytest.mark.parametrize("changes", [{}, {"d_out": 5, "skip": True}], ids=["plain", "skip"])
def test_fifty_fused_steps_are_fifty_steps_of_the_definitions(variant, changes, monkeypatch):
    monkeypatch.setattr("saelab.sae.parts.DENSE_FROM", 1.0)  # sparse throughout
    sae, x = with_dead_features(variant, **changes).double(), rows(STEPS * BATCH).double()
    fused, losses = fifty_steps(sae, x)
    monkeypatch.setenv("SAELAB_KERNELS", "reference")
    defined, wanted = fifty_steps(sae, x, clip=1e9)  # far above any gradient, but it has them written out
    # fp64 rounds by 1e-16; Adam divides by the root of a square that may be as small as its epsilon of 1e-8
    torch.testing.assert_close(losses, wanted, rtol=1e-8, atol=0)
    for name, parameter in fused.named_parameters():
        torch.testing.assert_close(parameter, defined.get_parameter(name), rtol=1e-6, atol=1e-7)


def test_rough_scores_change_no_step(variant, monkeypatch):
    """In fp32: the same features are selected, so nothing but the rounding of their values can differ."""
    monkeypatch.setattr(rules, "FEW", 8)  # of 40 features
    sae, x = with_dead_features(variant), rows(STEPS * BATCH)
    _, exact = fifty_steps(sae, x)
    monkeypatch.setattr(cpu, "rough_pays", lambda *_: True)
    _, rough = fifty_steps(sae, x)
    # each step rounds by 1e-7; a feature at the edge of the k best may then come or go, which moves the loss smoothly
    torch.testing.assert_close(rough, exact, rtol=1e-3, atol=0)


def test_the_path_taken_is_said_and_why(variant):
    fused = Optimiser(build(variant), OptimiserConfig.model_validate({}))
    clipped = Optimiser(build(variant), OptimiserConfig.model_validate({"clip": 1.0}))
    assert fused.path == "fused"
    assert "clip" in clipped.path


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes, workspaces aside, which are made once."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in torch.utils._pytree.tree_leaves((args, kwargs)) if is_plain(t)}
        for tensor in torch.utils._pytree.tree_leaves(out):
            if is_plain(tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.numel = max(self.numel, tensor.numel())
        return out


def is_plain(value) -> bool:
    """Whether it is a tensor with memory that can be looked at; a sparse one has none of its own."""
    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def test_no_step_holds_rows_times_features_beyond_the_encoders_chunk(variant, monkeypatch):
    needs_rows(variant)
    n, d_sae = 512, 4096
    monkeypatch.setattr(cpu, "CHUNK_BYTES", 32 * d_sae * 4)
    sae = build(variant, d_sae=d_sae)
    with torch.no_grad():
        sae.b_enc.sub_(5.0)  # few fire, as after some training
    optimiser, x = Optimiser(sae, OptimiserConfig.model_validate({"lr": RATE})), rows(n)
    with Largest() as largest, optimiser.gradients():
        torch.stack(list(sae.loss_terms(batch(x, x), 1).values())).sum().backward()
        optimiser.step(RATE, 0)
    assert sae.W_dec.numel() <= largest.numel <= n * d_sae / 8
