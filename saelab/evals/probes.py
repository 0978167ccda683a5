"""Logistic probes: a direction and a threshold that tell two classes of rows apart.

    p(yes | x) = sigmoid(x w + b)        minimised: mean over rows of the log loss + l2/2 |w_standardised|^2

Columns are standardised for the fit and the result is for raw rows again. Full-batch L-BFGS in fp64: the minimum is the
only one, so nothing is drawn at random and nothing depends on a learning rate.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

STEPS = 200


@dataclass(frozen=True, eq=False)
class Probe:
    """w and b for raw rows."""

    w: Float[np.ndarray, "d"]
    b: float

    def logits(self, x: Float[np.ndarray, "rows d"]) -> Float[np.ndarray, "rows"]:
        return x @ self.w + self.b

    def accuracy(self, x: Float[np.ndarray, "rows d"], y: Bool[np.ndarray, "rows"]) -> float:
        """Mean of the shares of both classes that are told right: 0.5 is chance whatever the classes' sizes."""
        right = (self.logits(x) > 0) == y
        return float((right[y].mean() + right[~y].mean()) / 2)


def fit(x: Float[np.ndarray, "rows d"], y: Bool[np.ndarray, "rows"], l2: float = 1e-3) -> Probe:
    """The probe of least loss; both classes must be there."""
    rows = torch.from_numpy(np.ascontiguousarray(x)).double()
    mean, scale = rows.mean(dim=0), rows.std(dim=0, correction=0)
    scale = torch.where(scale > 0, scale, 1)
    standard, sign = (rows - mean) / scale, torch.from_numpy(y).double() * 2 - 1
    w, b = torch.zeros(rows.shape[1], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    w.requires_grad_(), b.requires_grad_()
    optimiser = torch.optim.LBFGS([w, b], max_iter=STEPS, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = penalised(standard, sign, w, b, l2)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[arg-type]
    raw = w.detach() / scale
    return Probe(raw.numpy(), float(b.detach() - raw @ mean))


def penalised(
    x: Float[Tensor, "rows d"], sign: Float[Tensor, "rows"], w: Float[Tensor, "d"], b: Float[Tensor, ""], l2: float
) -> Float[Tensor, ""]:
    """The loss; sign is 1 for yes, -1 for no."""
    return torch.nn.functional.softplus(-sign * (x @ w + b)).mean() + l2 / 2 * w.square().sum()


def balanced(y: Bool[np.ndarray, "rows"], most: int, random: np.random.Generator) -> Int[np.ndarray, "drawn"]:
    """Rows of both classes in equal number, at most `most` of each, drawn without putting back."""
    yes, no = np.flatnonzero(y), np.flatnonzero(~y)
    n = min(len(yes), len(no), most)
    return np.concatenate([random.choice(yes, n, replace=False), random.choice(no, n, replace=False)])
