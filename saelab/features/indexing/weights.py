"""Stage 5: what the weights alone say of each feature: norms, biases, encoder against decoder, nearest decoder rows.

Also its place on a map, which is linear and the same on every build:

    unit_i = W_dec_i / |W_dec_i|        pc_j(i) = (unit_i - mean of unit) . v_j        j = 1, 2

with v_1, v_2 the two directions in which the unit rows vary most (eigenvectors of their covariance).
"""

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.features import marked
from saelab.features.indexing.job import Job

CHUNK = 1024  # decoder rows compared with all others at once


def write_weights(job: Job) -> None:
    """The two tables, each unless it is done."""
    if marked.facts(job.layout.table("weights")) is None:
        unit = torch.nn.functional.normalize(job.sae.W_dec.detach().float(), dim=1)
        places, explained = principal(unit)
        table = _weights(job).append_column("pc1", pa.array(places[:, 0].cpu().numpy()))
        table = table.append_column("pc2", pa.array(places[:, 1].cpu().numpy()))
        table = table.append_column("matryoshka_group", _groups(job))
        marked.put_table(job.layout.table("weights"), table, map_variance=explained)
    if marked.facts(job.layout.table("neighbours")) is None:
        job.progress.start("decoder neighbours", job.n_features, "features")
        marked.put_table(job.layout.table("neighbours"), _neighbours(job))


@torch.inference_mode()
def _weights(job: Job) -> pa.Table:
    sae, n = job.sae, job.n_features
    encoder, decoder = sae.W_enc.T.float(), sae.W_dec.float()  # [d_sae, d_in], [d_sae, d_out]
    same_space = encoder.shape == decoder.shape and job.site == job.site_out
    threshold = getattr(sae, "threshold", None)
    columns: dict[str, Tensor | None] = {
        "cosine": torch.cosine_similarity(encoder, decoder, dim=1) if same_space else None,
        "encoder_norm": encoder.norm(dim=1),
        "decoder_norm": decoder.norm(dim=1),
        "b_enc": sae.b_enc.float(),
        "threshold": None if threshold is None else threshold.float().expand(n),
    }
    filled = {name: _column(values, n) for name, values in columns.items()}
    return pa.table({"feature": np.arange(n, dtype=np.int32), **filled})


def _column(values: Tensor | None, n: int) -> pa.Array:
    return pa.nulls(n, pa.float32()) if values is None else pa.array(values.cpu().numpy())


@torch.inference_mode()
def _neighbours(job: Job) -> pa.Table:
    decoder = torch.nn.functional.normalize(job.sae.W_dec.float(), dim=1)
    found, cosines = [], []
    for start in range(0, job.n_features, CHUNK):
        feature, cosine = nearest(decoder, start, min(start + CHUNK, job.n_features), job.cfg.neighbours)
        found += feature.tolist()
        cosines += cosine.tolist()
        job.progress.advance(len(feature))
    columns = {"near": pa.array(found, pa.list_(pa.int32())), "near_cosine": pa.array(cosines, pa.list_(pa.float32()))}
    return pa.table({"feature": np.arange(job.n_features, dtype=np.int32), **columns})


@torch.inference_mode()
def principal(unit: Float[Tensor, "d_sae d"]) -> tuple[Float[Tensor, "d_sae 2"], list[float]]:
    """Each row on the first two principal directions, and the share of all variance that lies along each.

    Of a direction and its opposite the one is taken whose largest entry is positive.
    """
    centred = unit - unit.mean(dim=0)
    variance, direction = torch.linalg.eigh((centred.T @ centred).double())
    variance, direction = variance.flip(0)[:2], direction.flip(1)[:, :2]
    sign = direction.gather(0, direction.abs().argmax(dim=0, keepdim=True)).sign()
    places = centred @ (direction * sign).float()
    shares = (variance / centred.double().pow(2).sum().clamp_min(1e-300)).tolist()
    return torch.nn.functional.pad(places, (0, 2 - places.shape[1])), [*shares, 0.0][:2]


def _groups(job: Job) -> pa.Array:
    """The Matryoshka group of each feature, 1 the innermost; null where the SAE has no groups."""
    widths = getattr(job.sae.cfg, "widths", None)
    if widths is None:
        return pa.nulls(job.n_features, pa.int32())
    return pa.array(np.searchsorted(widths, np.arange(job.n_features), side="right") + 1, pa.int32())


def nearest(
    unit: Float[Tensor, "d_sae d"], start: int, stop: int, count: int
) -> tuple[Int[Tensor, "chunk kept"], Float[Tensor, "chunk kept"]]:
    """For rows start to stop the other rows with the largest cosine, largest first, and that cosine."""
    cosine = unit[start:stop] @ unit.T  # [chunk, d_sae]
    cosine[torch.arange(stop - start), torch.arange(start, stop)] = -torch.inf  # not itself
    kept = cosine.topk(min(count, len(unit) - 1), dim=1)
    return kept.indices.cpu(), kept.values.cpu()
