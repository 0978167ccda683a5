"""SAEDashboard 0.8: batch-{i}.json of 256 features each, as its Neuronpedia runner writes them.

    model_id, layer, sae_set, sae_id_suffix, features
    of a feature     feature_index, pos_str, pos_values, neg_str, neg_values, frac_nonzero, freq_hist_data_bar_values,
                     freq_hist_data_bar_heights, activations, and fields that stay empty (below)
    of an activation tokens, values, qualifying_token_index, bin_min, bin_max, bin_contains

bin_contains = -1 marks the strongest contexts, with bin_min = -1 and bin_max the maximum, as SAEDashboard marks them.
The other examples are those that the index sampled; each stands in the interval of its peak. What differs from files
that SAEDashboard computed itself: an example is a window around its peak, not a whole prompt; frac_nonzero and
bin_contains are shares of the counted tokens, and the lowest interval holds no zeros; logits are as `features` defines
them. Left empty, as its reader allows: alignment with and correlation of neurons, correlated features (the index holds
Jaccard, not Pearson), the histogram of logits, decoder weights by head. Left out, at that reader's defaults: vectors,
n_prompts_total, n_tokens_in_prompt and dataset.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saelab.atomic import write_bytes
from saelab.contracts import Progress
from saelab.features import Example, LogitEffects, TokenEffect
from saelab.interop.feature_data import (
    Described,
    FeatureFormat,
    Source,
    bars,
    identifier,
    interval_of,
    intervals,
    short,
    shorts,
)

TABLES = (  # of quantities that the index does not hold
    "neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1",
    "correlated_neurons_indices", "correlated_neurons_pearson", "correlated_neurons_l1",
    "correlated_features_indices", "correlated_features_pearson", "correlated_features_l1",
    "logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist",
)  # fmt: skip
STRONGEST = -1.0  # in place of a lower bound and of a share


def write(sources: Sequence[Source], folder: Path, progress: Progress) -> list[str]:
    (source,) = sources
    head = {"model_id": identifier(source.model), "layer": source.layer, "sae_set": identifier(source.name)}
    for number, page in enumerate(source.pages(progress)):
        batch = {**head, "sae_id_suffix": None, "features": [whole(one, source.tokens) for one in page]}
        write_bytes(folder / f"batch-{number}.json", json.dumps(batch, allow_nan=False).encode())
    return [
        "examples are windows around their peak, not whole prompts",
        "left empty: neurons, correlations, the histogram of logits, vectors, number of prompts, data set",
    ]


def whole(one: Described, tokens: int) -> dict[str, Any]:
    """A feature with its examples."""
    return feature(one, tokens) | {"activations": [activation(each) for each in placed(one, tokens)]}


def feature(one: Described, tokens: int) -> dict[str, Any]:
    """All about a feature but its examples."""
    values, heights = bars(one.acts)
    effects = one.card.effects or LogitEffects((), ())
    return {
        "feature_index": one.card.feature,
        "frac_nonzero": short(len(one.acts) / tokens),
        "freq_hist_data_bar_values": values,
        "freq_hist_data_bar_heights": heights,
        **_logits("pos", effects.promoted),
        **_logits("neg", effects.suppressed),
        **{name: [] for name in TABLES},
    }


def _logits(sign: str, effects: Sequence[TokenEffect]) -> dict[str, list[Any]]:
    return {
        f"{sign}_str": [effect.token for effect in effects],
        f"{sign}_values": shorts([effect.logit for effect in effects]),
    }


@dataclass(frozen=True)
class Placed:
    """An example and the interval of its peak: low < activation <= high, on this share of the counted tokens."""

    example: Example
    low: float
    high: float
    share: float


def placed(one: Described, tokens: int) -> list[Placed]:
    """The strongest contexts, then the sampled ones that are not among them, the strongest interval first."""
    top = [Placed(example, STRONGEST, short(one.card.stats.max), STRONGEST) for example in one.card.top]
    shown = {example.row for example in one.card.top}
    sampled = [example for group in reversed(one.card.quantiles) for example in group if example.row not in shown]
    edges, shares = intervals(one.acts, tokens)
    at = interval_of(np.array([example.activation for example in sampled]), edges)
    return top + [
        Placed(example, short(edges[i]), short(edges[i + 1]), short(shares[i]))
        for i in reversed(range(len(shares)))
        for example, place in zip(sampled, at, strict=True)
        if place == i
    ]


def activation(one: Placed) -> dict[str, Any]:
    """An example as SAEDashboard writes it."""
    return {
        "tokens": list(one.example.tokens or ()),
        "values": shorts(one.example.activations),
        "qualifying_token_index": one.example.peak,
        "bin_min": one.low,
        "bin_max": one.high,
        "bin_contains": one.share,
    }


FORMAT = FeatureFormat("batch-{i}.json of SAEDashboard 0.8", write, several=False)
