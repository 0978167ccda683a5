"""How an SAE begins, where random weights in the rows' own units will not do; see the settings of the optimiser.

    active_subspace     W_dec_i = R_i U / |R_i U|,  W_enc = W_dec^T      R_i the first r coordinates of the random row,
                                                                         U [r, d] the directions of most variance in y
    geometric_median    b_dec = argmin over m of sum |y - m|             by Weiszfeld's iteration
    start_from          the weights of a checkpoint, in the units of this run

A random direction of R^d has only r / d of its squared length where rows of rank r vary, and top-k goes to those that
have more of it by chance; the others never fire. Nothing keeps features in the subspace once training has begun. A
transcoder's encoder begins in the subspace of what it reads.

OpenMOSS, Language-Model-SAEs, `init_W_D_with_active_subspace`; "Attention layers add into low-dimensional residual
subspaces" (2025).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.contracts import Batch
from saelab.errors import CheckpointError
from saelab.sae import SAE
from saelab.sae.parts import unit_rows
from saelab.train.config import OptimiserConfig
from saelab.train.data import RowSource
from saelab.train.normalise import SAMPLE, Normalisation
from saelab.train.start import unfolded
from saelab.train.trainee import Trainee

VARIANCE = 0.99  # share of it that the active subspace holds
ITERATIONS, CLOSE = 100, 1e-6  # of Weiszfeld; it ends when a step is shorter than this share of a row


def initialise(trainees: Sequence[Trainee], source: RowSource) -> None:
    """Give every trainee that has taken no step the beginning its settings ask for, from a sample of the rows."""
    new = [trainee for trainee in trainees if trainee.step == 0]
    rows: Batch | None = None
    if any(wants_rows(trainee.cfg) for trainee in new):
        sites = new[0].plan.sites
        sample = source.sample(sites, SAMPLE)
        rows = new[0].normalisation.batch(sample[sites[0]], sample[sites[-1]])
    for trainee in new:
        begin(trainee.sae, trainee.cfg, trainee.normalisation, rows)


def wants_rows(cfg: OptimiserConfig) -> bool:
    """Whether the beginning depends on rows."""
    return cfg.init == "active_subspace" or cfg.init_b_dec == "geometric_median"


@torch.no_grad()
def begin(sae: SAE, cfg: OptimiserConfig, normalisation: Normalisation, rows: Batch | None) -> None:
    """Change a new SAE to begin as `cfg` says; `rows` are normalised, and there if `wants_rows`."""
    if cfg.start_from is not None:
        take_weights(sae, cfg, normalisation)
    if cfg.init == "active_subspace":
        assert rows is not None
        into_subspace(sae, rows, cfg.subspace_rank)
    if cfg.init_b_dec == "zero":  # normalised rows are centred on their mean
        sae.b_dec.copy_(-normalisation.target_centre * normalisation.target_scale)
    elif cfg.init_b_dec == "geometric_median":
        assert rows is not None
        sae.b_dec.copy_(geometric_median(rows.y))


def take_weights(sae: SAE, cfg: OptimiserConfig, normalisation: Normalisation) -> None:
    """Weights and thresholds of the checkpoint; nothing has fired yet."""
    assert cfg.start_from is not None
    state = unfolded(cfg.start_from, normalisation, cfg.device).state_dict()
    try:
        sae.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"train.start_from: {cfg.start_from} has weights of other shapes than this SAE.\n"
            f"  found: {' '.join(str(error).split())}\n"
            "  fix:   leave the settings of sae out: they are then the checkpoint's"
        ) from None
    sae.tokens_since_fired.zero_()


def into_subspace(sae: SAE, rows: Batch, rank: int | None) -> None:
    """Move the rows of W_dec into the active subspace of y, and those of the encoder with them."""
    sae.W_dec.copy_(within(sae.W_dec, active_subspace(rows.y, rank)))
    if not sae.has_encoder:
        return
    if sae.cfg.transcoder:
        sae.W_enc.copy_(within(sae.W_enc.t(), active_subspace(rows.x, rank)).t())
    else:
        sae.W_enc.copy_(sae.W_dec.t())


def within(W: Float[Tensor, "n d"], U: Float[Tensor, "r d"]) -> Float[Tensor, "n d"]:
    """As many random unit rows as W has, evenly over the directions within the subspace."""
    return unit_rows(W[:, : len(U)] @ U)


def active_subspace(rows: Float[Tensor, "rows d"], rank: int | None) -> Float[Tensor, "r d"]:
    """The `rank` orthonormal directions of most variance; without a rank, as few as hold VARIANCE of it."""
    spectrum, directions = torch.linalg.eigh(rows.double().t().cov())
    spectrum, directions = spectrum.flip(0).clamp_min(0), directions.flip(1)
    if rank is None:
        rank = int((spectrum.cumsum(0) < VARIANCE * spectrum.sum()).sum()) + 1
    return directions[:, :rank].t().to(rows.dtype)


def geometric_median(rows: Float[Tensor, "rows d"]) -> Float[Tensor, "d"]:
    """The point with the least sum of distances to all rows: outlying ones pull at it no harder than others."""
    centre = rows.mean(dim=0)
    for _ in range(ITERATIONS):
        distance = (rows - centre).norm(dim=1)
        weight = 1 / distance.clamp_min(CLOSE * distance.mean().item() + torch.finfo(rows.dtype).tiny)
        last, centre = centre, (weight / weight.sum()) @ rows
        if (centre - last).norm() <= CLOSE * distance.mean():
            break
    return centre
