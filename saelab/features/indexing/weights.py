"""Stage 5: what the weights alone say of each feature: norms, biases, encoder against decoder, nearest decoder rows."""

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
        marked.put_table(job.layout.table("weights"), _weights(job))
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


def nearest(
    unit: Float[Tensor, "d_sae d"], start: int, stop: int, count: int
) -> tuple[Int[Tensor, "chunk kept"], Float[Tensor, "chunk kept"]]:
    """For rows start to stop the other rows with the largest cosine, largest first, and that cosine."""
    cosine = unit[start:stop] @ unit.T  # [chunk, d_sae]
    cosine[torch.arange(stop - start), torch.arange(start, stop)] = -torch.inf  # not itself
    kept = cosine.topk(min(count, len(unit) - 1), dim=1)
    return kept.indices.cpu(), kept.values.cpu()
