"""Train as `saelab train` does on the bundled model's activations: what synthetic rows cannot show."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saelab.config import settings
from saelab.evals import fidelity
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.prove.fit import Settings
from saelab.sae import SAE
from saelab.store import Store
from saelab.train import TrainConfig, TrainResult, train

SITES = ("mlp.2", "attn_z.2", "attn_out.2")
TOKENS, HELDOUT, ROWS = 300_000, 30_000, 600_000


@dataclass(frozen=True)
class Bench:
    """The model, what it was harvested into, and the folder that goes when this process ends."""

    folder: TemporaryDirectory[str]
    lm: LanguageModel
    store: Store


@cache
def bench() -> Bench:
    """Made once in a process."""
    folder, lm = TemporaryDirectory(prefix="saelab-prove-"), LanguageModel.load("pico")
    out = Path(folder.name) / "store"
    cfg = HarvestConfig(sites=list(SITES), tokens=TOKENS, heldout_tokens=HELDOUT, out=out)
    return Bench(folder, lm, harvest(cfg, lm=lm))


@cache
def fit_pico(
    seed: int,
    /,
    *,
    site: str,
    target: str | None = None,
    rows: int = ROWS,
    optimiser: Settings = (),
    **sae: Any,
) -> TrainResult:
    """The checkpoint and its figures on held-out documents; the same call is free. `optimiser`: its settings."""
    made = bench()
    name = f"run{len(list(Path(made.folder.name).iterdir()))}"
    values = {
        "store": str(made.store.path),
        "site": site,
        "target": target,
        "sae": sae,
        "train": {"rows": rows, "seed": seed, **dict(optimiser)},
        "name": "sae",
        "out": str(Path(made.folder.name) / name),
    }
    return train(settings(TrainConfig, values, where="prove"))[0]


@cache
def spliced(checkpoint: Path) -> fidelity.Result:
    """What the model loses with the SAE's output in place of its own."""
    made = bench()
    cfg = fidelity.Config.model_validate({"tokens": 10_000})
    return fidelity.measure(SAE.load(checkpoint), made.lm, made.store, cfg)
