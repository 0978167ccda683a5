"""Why features died: what a run's own figures say about it, and what to change.

A feature dies when its pre-activation is negative on everything: too large a step threw it there, or no row ever
pulled it. Each reason below is measured on the run; one that is not met is not named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.train.config import OptimiserConfig, TrainConfig
from saelab.train.data import RowSource, rows_of
from saelab.train.defaults import default_dead_after, default_learning_rate
from saelab.train.plans import Plan, plans
from saelab.train.run import TrainResult
from saelab.train.sites import in_units, over_sites

HIGH = 0.1  # share of dead features from which a run is looked into
SAMPLE = 4096  # rows
FAST = 1.5  # times the derived learning rate; at 2 times 20 % died where 0.1 % did (configs/README.md)
OUTLIERS, OUTLYING = 3, 0.5  # coordinates, and the share of all variance in them
FIRINGS = 300.0  # firings of a feature in the whole run, were all equally frequent
LOW_RANK = 0.5  # dimensions that hold 99 % of the variance, as a share of d


@dataclass(frozen=True)
class Reason:
    """What was measured and what would help."""

    measured: str
    change: str


UNKNOWN = Reason(
    "learning rate, outlying coordinates, revival, firings per feature and rank of the rows are as they should be",
    "lower sae.d_sae: these rows may hold no more features",
)


def dead_reasons(
    cfg: TrainConfig, source: RowSource | None, results: Sequence[TrainResult]
) -> list[tuple[str, list[Reason]]]:
    """(name, reasons) of every SAE of a finished run in which more than HIGH of the features are dead."""
    many = [result.name for result in results if result.dead_in_training > HIGH]
    if not many:
        return []
    source = over_sites(cfg, source or rows_of(cfg))
    dead = [plan for plan in plans(cfg, source) if plan.name in many]
    return [(p.name, why_dead(p, in_units(source, p.sites, [p.folder])) or [UNKNOWN]) for p in dead]


def why_dead(plan: Plan, source: RowSource) -> list[Reason]:
    """The reasons that this run's settings and rows give, most likely first."""
    rows = source.sample([plan.site], SAMPLE)[plan.site].float()
    return [
        *_learning_rate(plan.train, plan.sae.d_sae),
        *_outliers(rows),
        *_revival(plan),
        *_budget(plan.train, plan.sae.d_sae, plan.sae.active),
        *_subspace(rows, plan.sae.d_sae),
    ]


def _learning_rate(train: OptimiserConfig, d_sae: int) -> Iterator[Reason]:
    derived = default_learning_rate(d_sae, train.rows)
    if train.lr is not None and train.lr > FAST * derived:
        yield Reason(
            f"train.lr is {train.lr:.2g}, {train.lr / derived:.1f} times what is derived from width and rows",
            f"leave train.lr out, or set it to {derived:.2g}",
        )


def _outliers(rows: Float[Tensor, "rows d"]) -> Iterator[Reason]:
    variance = rows.var(dim=0)
    top = variance.topk(min(OUTLIERS, len(variance)))
    share = (top.values.sum() / variance.sum().clamp_min(1e-30)).item()
    if share > OUTLYING and len(variance) > 2 * OUTLIERS:
        which = ", ".join(str(i) for i in top.indices.tolist())
        yield Reason(
            f"coordinates {which} hold {share:.0%} of the rows' variance: they decide the scale of all others",
            "harvest another site (resid_mid and mlp_out have fewer such coordinates), or leave out the tokens that "
            "carry them, mostly the first ones of a text",
        )


def _revival(plan: Plan) -> Iterator[Reason]:
    train, aux = plan.train, getattr(plan.sae, "aux", None)
    usual = default_dead_after(train.rows, plan.sae.d_sae, plan.sae.active)
    window = train.dead_after or usual
    if aux == 0:
        yield Reason("sae.aux is 0: nothing brings a dead feature back", "leave sae.aux out (1/32)")
    elif aux is not None and 3 * window > train.rows:
        yield Reason(
            f"a feature counts as dead after {window:,} rows without firing, and the run has {train.rows:,}: hardly "
            "any is brought back in time",
            f"leave train.dead_after out, or set it to {usual:,}",
        )


def _budget(train: OptimiserConfig, d_sae: int, active: int | float | None) -> Iterator[Reason]:
    if active is None:
        return
    each = train.rows * active / d_sae
    if each < FIRINGS:
        enough = round(FIRINGS * d_sae / active)
        yield Reason(
            f"{train.rows:,} rows of {active:g} active features give each of {d_sae:,} {each:.0f} firings on average",
            f"train on more rows (train.rows={enough:,} gives {FIRINGS:.0f}), or on fewer features",
        )


def _subspace(rows: Float[Tensor, "rows d"], d_sae: int) -> Iterator[Reason]:
    d = rows.shape[1]
    spectrum = torch.linalg.eigvalsh(rows.t().double().cov()).flip(0).clamp_min(0)
    rank = int((spectrum.cumsum(0) < 0.99 * spectrum.sum()).sum()) + 1
    if rank < LOW_RANK * d and d_sae > 8 * rank:
        yield Reason(
            f"{rank} of {d} dimensions hold 99 % of the rows' variance: most directions that features begin with "
            "never matter",
            "set train.init to active_subspace, or lower sae.d_sae",
        )
