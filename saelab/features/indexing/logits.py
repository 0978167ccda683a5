"""Stage 6: which next tokens each feature promotes and suppresses.

    effect = (gain * direction) (W_U - mean over the vocabulary of W_U)

`direction` is the feature's decoder row as the residual stream receives it (through W_O for attention's z), `gain` the
final norm's. One unit of the feature moves logits by this much, up to the final norm's scale, which is left out; a
shift of all logits alike changes nothing, so it is centred away. Variants that differ: raw W_U without the gain
(SAEDashboard), or the decoder row through the whole final norm (Llamascopium); their lists differ from these.
Of a crosscoder it is what the decoder writes at the last of its sites.
"""

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import SiteError
from saelab.features import marked
from saelab.features.indexing.job import Job

VARIANT = "(final norm gain * direction) @ (W_U - mean over the vocabulary of W_U), without the norm's scale"
ENTRIES = 1 << 25  # of one chunk of the features x vocabulary matrix
IDS, VALUES = pa.list_(pa.int32()), pa.list_(pa.float32())


def directions(job: Job) -> Float[Tensor, "d_sae d_model"] | None:
    """Each feature's direction in the residual stream; None without a language model, or where the site has none."""
    if job.lm is None:
        return None
    try:
        site, rows = list(job.written.split(job.sae.W_dec.detach().float()).items())[-1]
        return job.lm.output_direction(site, rows.to(job.lm.W_U.device))
    except SiteError as error:
        job.progress.note(f"no logit effects: {error}")
        return None


@torch.inference_mode()
def write_logits(job: Job) -> None:
    """One row per feature, or an empty table where there are no directions."""
    path = job.layout.table("logits")
    if marked.facts(path) is not None:
        return
    columns: dict[str, list] = {"promoted": [], "promoted_by": [], "suppressed": [], "suppressed_by": []}
    direction = directions(job)
    if direction is not None and job.lm is not None:
        job.progress.start("logit effects", job.n_features, "features")
        centred = job.lm.W_U.float() - job.lm.W_U.float().mean(dim=1, keepdim=True)
        chunk = max(1, ENTRIES // centred.shape[1])
        for rows in (direction * job.lm.final_gain.float()).split(chunk):
            _append(columns, rows @ centred, job.cfg.effects)
            job.progress.advance(len(rows))
    features = pa.array(np.arange(len(columns["promoted"]), dtype=np.int32))
    lists = {name: pa.array(values, VALUES if name.endswith("_by") else IDS) for name, values in columns.items()}
    marked.put_table(path, pa.table({"feature": features, **lists}))


def _append(columns: dict[str, list], effect: Float[Tensor, "chunk vocab"], count: int) -> None:
    for name, largest in (("promoted", True), ("suppressed", False)):
        kept = effect.topk(min(count, effect.shape[1]), dim=1, largest=largest)
        columns[name] += kept.indices.tolist()
        columns[f"{name}_by"] += kept.values.tolist()
