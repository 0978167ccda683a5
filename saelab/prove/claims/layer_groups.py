"""One SAE for several layers, beside one for each: settings of any variant, shown with topk on the bundled model."""

from collections.abc import Iterable
from functools import cache
from statistics import mean

from saelab.config import settings
from saelab.contracts import canonical_site
from saelab.prove.claim import AtMost, Claim
from saelab.prove.on_pico import ROWS, folder_for, harvested
from saelab.train import TrainConfig, TrainResult, groups_of, train, train_groups

LAYERS = tuple(canonical_site(f"resid_post.{layer}") for layer in range(4))
SAE = {"variant": "topk", "d_sae": 2048, "k": 32}
FOUR = (
    "The number of groups is the recipe's free constant; of 4 layers nothing lies between one group and two. They are "
    "the whole depth of this model; the paper's groups are neighbouring layers of models of 12 and more."
)
GHILARDI = "Ghilardi et al. 2024"


def _settings(seed: int, **more: object) -> TrainConfig:
    values = {
        "store": str(harvested(LAYERS).store.path),
        "sae": SAE,
        "train": {"rows": ROWS, "seed": seed},
        "out": str(folder_for("layers")),
    }
    return settings(TrainConfig, {**values, **more}, where="prove")


@cache
def apart(seed: int) -> float:
    """Mean FVU of an SAE for each layer."""
    return _mean(train(_settings(seed, site=layer, name="sae"))[0] for layer in LAYERS)


@cache
def together(seed: int, count: int) -> float:
    """Mean FVU over the layers of `count` SAEs, each trained on as many rows as one of `apart`."""
    cfg = _settings(seed, site=list(LAYERS), layer_groups={"count": count})
    return _mean(train_groups(cfg, groups_of(cfg)))


def _mean(results: Iterable[TrainResult]) -> float:
    return mean(one.fvu for one in results if one.fvu is not None)


CLAIMS = (
    Claim(
        "topk-layer-groups", "topk", "pico", "mean FVU of one SAE for 4 layers, a quarter of the training, over theirs",
        AtMost(1.10), lambda seed: together(seed, 1) / apart(seed), GHILARDI, slow=True, note=FOUR,
    ),
    Claim(
        "topk-layer-groups-2", "topk", "pico", "the same of two SAEs, half of the training",
        AtMost(1.10), lambda seed: together(seed, 2) / apart(seed), GHILARDI, slow=True, note=FOUR,
    ),
)  # fmt: skip
