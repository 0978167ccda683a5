"""circuit-tracer 0.5: what its viewer shows of a feature, in the files it reads beside the transcoders.

    features/index.json.gz    {"LAYER": {"filename": "layer_LAYER.bin", "offsets": [0, …]}}
    features/layer_{i}.bin    a record per feature, from offsets[f] to offsets[f + 1]: its length after compression (4
                              bytes, little-endian), then gzipped JSON. None (equal offsets) for features left out
    a record                  transcoder_id, index, act_min, act_max, activation_frequency, histogram, quantile_values,
                              top_logits, bottom_logits, examples_quantiles
    examples_quantiles        quantile_name and examples of each group: tokens, tokens_acts_list, train_token_ind (the
                              peak), is_repeated_datapoint (shown among the strongest already)

histogram counts activations above zero in 50 equally wide bins from act_min to act_max, quantile_values are their 100
percentiles, activation_frequency is the share of counted tokens. The format has no place for labels or for how much a
logit moves. The folder `features` goes into the repository that `scan` of the transcoders' config.yaml names.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saelab.atomic import aside, publish, write_bytes
from saelab.contracts import Progress
from saelab.errors import FormatError
from saelab.features import Example
from saelab.interop.feature_data import Described, FeatureFormat, Source, bars, percentiles, short, shorts


def write(sources: Sequence[Source], folder: Path, progress: Progress) -> list[str]:
    layers = [source.layer for source in sources]
    if len(set(layers)) < len(layers):
        raise FormatError(f"a set has one transcoder of each layer; these are of layers {sorted(layers)}.")
    index = {}
    for source in sorted(sources, key=lambda each: each.layer):
        name = f"layer_{source.layer}.bin"
        index[str(source.layer)] = {
            "filename": name,
            "offsets": _write_layer(folder / "features" / name, source, progress),
        }
    write_bytes(folder / "features" / "index.json.gz", _packed(index))
    autoencoders = [source.name for source in sources if source.facts["site_out"] == source.facts["site"]]
    notes = ["labels have no place in these files", "the folder `features` belongs beside the transcoders' config.yaml"]
    if autoencoders:
        notes.append(f"{', '.join(autoencoders)}: no transcoder, and circuit-tracer makes graphs of transcoders only")
    return notes


def _write_layer(path: Path, source: Source, progress: Progress) -> list[int]:
    """A layer's records. Returns where each begins, and where the last one ends."""
    path.parent.mkdir(exist_ok=True)
    offsets = [0] * (source.features.start + 1)
    with aside(path) as tmp:
        with open(tmp, "wb") as file:
            for one in source.described(progress):
                packed = _packed(record(one, source))
                file.write(len(packed).to_bytes(4, "little") + packed)
                offsets.append(file.tell())
        publish(tmp, path)
    return offsets + offsets[-1:] * (source.index.n_features + 1 - len(offsets))


def _packed(values: Any) -> bytes:
    return gzip.compress(json.dumps(values, allow_nan=False).encode(), 5, mtime=0)  # the same bytes every time


def record(one: Described, source: Source) -> dict[str, Any]:
    """What the viewer shows of one feature."""
    card, effects = one.card, one.card.effects
    top = {example.row for example in card.top}
    groups = [("Top activations", card.top)] + [
        (f"Quantile {q + 1} of {len(card.quantiles)}", card.quantiles[q]) for q in reversed(range(len(card.quantiles)))
    ]
    return {
        "transcoder_id": source.name,
        "index": card.feature,
        "act_min": short(float(one.acts.min())) if len(one.acts) else 0.0,
        "act_max": short(float(one.acts.max())) if len(one.acts) else 0.0,
        "activation_frequency": short(len(one.acts) / source.tokens),
        "histogram": bars(one.acts)[1],
        "quantile_values": percentiles(one.acts),
        "top_logits": [effect.token for effect in effects.promoted] if effects else [],
        "bottom_logits": [effect.token for effect in effects.suppressed] if effects else [],
        "examples_quantiles": [
            {"quantile_name": name, "examples": [_example(each, i > 0 and each.row in top) for each in examples]}
            for i, (name, examples) in enumerate(groups)
            if examples
        ],
    }


def _example(example: Example, repeated: bool) -> dict[str, Any]:
    return {
        "tokens": list(example.tokens or ()),
        "tokens_acts_list": shorts(example.activations),
        "train_token_ind": example.peak,
        "is_repeated_datapoint": repeated,
    }


FORMAT = FeatureFormat("features/index.json.gz and layer_{i}.bin of circuit-tracer 0.5", write, several=True)
