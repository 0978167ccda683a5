"""Eps-LBO: how far from orthogonal the decoder must be, at least, for codes as long as these.

    eps-LBO       mean over rows of | |x - b_dec|^2 - |f|^2 | / ((d_sae - 1) |f|^2)
    length gap    median over rows of | |f| / |x - b_dec| - 1 |

With nearly orthogonal unit features a row is about as long as its code. Held-out rows of the store; no language model.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalSkipped
from saelab.evals.subject import Figure, Subject, explained
from saelab.intervene import sites
from saelab.metrics import eps_lbo

NEEDS = ("rows",)
SOURCE = "Lee et al. 2025, Evaluating and designing sparse autoencoders by approximating quasi-orthogonality"
METRICS = {
    "eps_lbo": "mean over rows of | |x - b_dec|^2 - |f|^2 | / ((d_sae - 1) |f|^2); 0: codes as long as their rows",
    "length_gap": "median over rows of | |f| / |x - b_dec| - 1 |",
    "length_ratio": "median over rows of |f| / |x - b_dec|",
}


class Config(Settings):
    rows: int = Field(8192, gt=0, description="Held-out rows of the store.")


@dataclass(frozen=True)
class Result:
    """Of `rows` rows on which something fires."""

    rows: int
    eps_lbo: float
    length_gap: float
    length_ratio: float

    def figures(self) -> list[Figure]:
        """One row per metric; n counts rows."""
        return [Figure(name, getattr(self, name), self.rows) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, float | None, str]]]:
        """Column names and rows."""
        return explained(self.figures(), METRICS)

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        return [f"eps-LBO {self.eps_lbo:.2e}; a code is {self.length_ratio:.2f} times as long as its row (median)"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


@torch.no_grad()
def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Compare the lengths of held-out rows and of their codes."""
    progress = progress or Silent()
    sae = subject.sae
    sae.require_rows("eps_lbo")
    read, write = sites(sae)
    if read != write:
        raise EvalSkipped("needs an autoencoder: a transcoder's code is of another site than what it adds up to")
    x = subject.store.read(read, "heldout", 0, cfg.rows).float()
    progress.start("lengths of codes", len(x), "rows")
    wanted = x - sae.b_dec.float()
    codes = [sae.encode_sparse(part) for part in x.split(2048)]
    found = [torch.where(code.mask, code.val.float(), 0.0) for code in codes]
    width = max(part.shape[1] for part in found)
    f = torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in found])
    progress.advance(len(x))
    ratio = f.norm(dim=1) / wanted.norm(dim=1).clamp_min(1e-12)
    active = (f > 0).any(dim=1)
    if not active.any():
        raise EvalSkipped("no feature fires on the held-out rows")
    return Result(
        rows=int(active.sum()),
        eps_lbo=eps_lbo(wanted, f, sae.cfg.d_sae),
        length_gap=(ratio[active] - 1).abs().median().item(),
        length_ratio=ratio[active].median().item(),
    )
