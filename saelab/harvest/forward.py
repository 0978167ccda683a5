"""Run the model over the contexts of a shard: every site in one pass, rows put where the plan says.

With gradients, the pass also goes back, and each site's rows come with `gradient_of(site)`.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from saelab.corpora import Context
from saelab.errors import ModelError
from saelab.harvest.plan import ShardPlan
from saelab.lm import LanguageModel
from saelab.store import gradient_of
from saelab.store.layout import DTYPES, gradient_dtype


def shard_activations(
    lm: LanguageModel, plan: ShardPlan, sites: Sequence[str], batch: int, dtype: str, gradients: bool = False
) -> dict[str, Tensor]:
    """{site: rows [rows, d] in `dtype`, on the CPU}, in the order of the plan; with `gradients`, those as well.

    Contexts of like length run together, which wastes little on padding; batches never leave the shard, so a
    shard made again after a crash is the same to the bit. Raises ModelError for rows that are no numbers.
    """
    out = {site: torch.empty(plan.rows, lm.d_site(site), dtype=DTYPES[dtype]) for site in sites}
    if gradients:
        slope = DTYPES[gradient_dtype(dtype)]
        out |= {gradient_of(site): torch.empty(plan.rows, lm.d_site(site), dtype=slope) for site in sites}
    starts = torch.searchsorted(plan.of, torch.arange(len(plan.contexts) + 1)).tolist()  # rows lie context by context
    for chosen, ids in padded_batches(plan.contexts, batch, lm.bos or 0):
        of_each = [torch.arange(starts[number], starts[number + 1]) for number in chosen.tolist()]
        rows = torch.cat(of_each)
        cells = torch.cat([plan.at[part] + slot * ids.shape[1] for slot, part in enumerate(of_each)])
        lengths = torch.tensor([len(plan.contexts[number].ids) for number in chosen.tolist()])
        found = of_pass(lm, ids, lengths, sites, gradients)
        cells = cells.to(lm.device)
        for name, into in out.items():
            into[rows] = found[name].flatten(0, 1).index_select(0, cells).to(into.dtype).cpu()
    for name, rows in out.items():
        _require_numbers(lm, plan, name, rows)
    return out


def _require_numbers(lm: LanguageModel, plan: ShardPlan, name: str, rows: Tensor) -> None:
    """Raise ModelError where a row holds an infinite value or NaN: one such row ends every training on the store."""
    if rows.isfinite().all():
        return
    bad = (~rows.isfinite().all(dim=1)).nonzero().flatten()
    context = plan.contexts[int(plan.of[bad[0]])]
    token = context.ids[int(plan.at[bad[0]])]
    of = "float16 ends at 65,504: set dtype: bfloat16" if rows.dtype == torch.float16 else "set compute_dtype: float32"
    raise ModelError(
        f"{lm.name} gives values that are no numbers (infinite or NaN) at {name}: in {len(bad):,} of {len(rows):,} "
        f"rows of shard {plan.number}, first for the token {lm.decode([token])!r} at place {int(plan.at[bad[0]])} of a "
        f"context of {len(context.ids)}.\n"
        f"  fix:   {of}; if it is that already, look at the model's weights"
    )


def of_pass(
    lm: LanguageModel,
    ids: Int[Tensor, "batch tokens"],
    lengths: Int[Tensor, "batch"],
    sites: Sequence[str],
    gradients: bool,
) -> dict[str, Tensor]:
    """{name: [batch, tokens, d]} of one pass, padded behind `lengths`; with `gradients`, `gradient_of(site)` too."""
    if not gradients:
        return lm.activations(ids.to(lm.device), sites)
    acts, slopes = lm.activations_and_gradients(ids.to(lm.device), lengths, sites)
    return acts | {gradient_of(site): slope for site, slope in slopes.items()}


def padded_batches(
    contexts: Sequence[Context], batch: int, pad: int
) -> Iterator[tuple[Int[Tensor, "batch"], Int[Tensor, "batch tokens"]]]:
    """(which contexts, their ids), longest first; padded at the end, where a causal model does not look."""
    order = sorted(range(len(contexts)), key=lambda number: -len(contexts[number].ids))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        length = len(contexts[chosen[0]].ids)
        ids = [contexts[number].ids + [pad] * (length - len(contexts[number].ids)) for number in chosen]
        yield torch.tensor(chosen), torch.tensor(ids)
