"""Do two libraries take the same gradient? Each is compared with a dense computation in fp64.

    |s g - g*| / |g*| for each parameter,   s = <g, g*> / <g, g> over all of them together

s takes out by what factor two losses differ (a sum over d_in, a mean, a share of the variance), and nothing else: a
parameter whose gradient has the wrong size beside the others' is found out. The rows are chosen so that fp32 cannot
err about which features are selected.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = {"topk": 256, "batchtopk": 64}  # rows looked at; a batch has one border, a row each its own
CLEAR = 1e-4  # smallest gap at the border, as a share of the value there: hundreds of times fp32's error
TOLERANCE = 1e-4  # fp32 sums of up to a batch of terms, in another order


def gradients(
    x: Float[Tensor, "rows d_in"], W_dec: Float[Tensor, "d_sae d_in"], k: int, variant: str
) -> dict[str, Tensor]:
    """Of sum |x - x_hat|^2, dense and in fp64; encoder weights W_dec^T, biases 0."""
    x = x.double()
    at = {
        "W_enc": W_dec.double().t(),
        "b_enc": x.new_zeros(len(W_dec)),
        "W_dec": W_dec.double(),
        "b_dec": x.new_zeros(x.shape[1]),
    }
    p = {name: value.clone().requires_grad_() for name, value in at.items()}
    pre = torch.relu((x - p["b_dec"]) @ p["W_enc"] + p["b_enc"])  # [rows, d_sae]
    f = torch.where(_selected(pre.detach(), k, variant), pre, 0.0)
    (x - f @ p["W_dec"] - p["b_dec"]).pow(2).sum().backward()
    return {name: value.grad for name, value in p.items() if value.grad is not None}


def clear_rows(x: Float[Tensor, "rows d_in"], W_dec: Float[Tensor, "d_sae d_in"], k: int, variant: str) -> Tensor:
    """The rows of x on which the selection is beyond doubt; for BatchTopK as many as are so together."""
    pre = torch.relu(x[: ROWS[variant]].double() @ W_dec.double().t())
    if variant == "topk":
        return x[: len(pre)][_gap(pre, k) > CLEAR]
    fitting = (n for n in range(len(pre), 0, -1) if _gap(pre[:n].flatten(), k * n) > CLEAR)
    return x[: next(fitting, 0)]


def _gap(values: Tensor, k: int) -> Tensor:
    """Between the k-th largest and the next, as a share of the former; infinite where there is no next."""
    if values.shape[-1] <= k:
        return torch.full(values.shape[:-1], torch.inf)
    top = values.topk(k + 1, dim=-1).values
    return (top[..., -2] - top[..., -1]) / top[..., -2]


def _selected(pre: Tensor, k: int, variant: str) -> Tensor:
    flat = pre if variant == "topk" else pre.flatten()
    chosen = flat.topk(k if variant == "topk" else k * len(pre), dim=-1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter(-1, chosen, True).view_as(pre)


def distances(found: Mapping[str, Tensor], true: Mapping[str, Tensor]) -> dict[str, float]:
    """How far each gradient is from the true one, after the one factor that fits all of them best."""
    g = {name: found[name].to(true[name]) for name in true}
    scale = sum((g[name] * true[name]).sum() for name in true) / sum(g[name].pow(2).sum() for name in true)
    return {name: ((scale * g[name] - true[name]).norm() / true[name].norm()).item() for name in true}
