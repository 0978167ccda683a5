"""Train as `saelab train` does on the bundled model's activations: what synthetic rows cannot show."""

from dataclasses import dataclass
from functools import cache
from itertools import count
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

SITES = ("mlp.0", "mlp.2", "attn_z.2", "attn_out.2")
TOKENS, HELDOUT, ROWS = 300_000, 30_000, 600_000
_numbers = count()


@cache
def _root() -> TemporaryDirectory[str]:
    """Goes when this process ends."""
    return TemporaryDirectory(prefix="saelab-prove-")


def folder_for(what: str) -> Path:
    """A folder that nobody else has."""
    folder = Path(_root().name) / f"{what}-{next(_numbers)}"
    folder.mkdir()
    return folder


@cache
def model() -> LanguageModel:
    """The bundled one."""
    return LanguageModel.load("pico")


@dataclass(frozen=True)
class Harvested:
    """The model, and what it was harvested into."""

    lm: LanguageModel
    store: Store


@cache
def harvested(sites: tuple[str, ...] = SITES, corpus: Settings = (), **how: Any) -> Harvested:
    """Rows of `sites`, made once in a process. `how`: settings of the harvest."""
    more = {"corpus": dict(corpus)} if corpus else {}
    values = {"sites": list(sites), "tokens": TOKENS, "heldout_tokens": HELDOUT, **more, **how}
    cfg = settings(HarvestConfig, {**values, "out": str(folder_for("store") / "store")}, where="prove")
    return Harvested(model(), harvest(cfg, lm=model()))


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
    values = {
        "store": str(harvested().store.path),
        "site": site,
        "target": target,
        "sae": sae,
        "train": {"rows": rows, "seed": seed, **dict(optimiser)},
        "name": "sae",
        "out": str(folder_for("run")),
    }
    return train(settings(TrainConfig, values, where="prove"))[0]


@cache
def spliced(checkpoint: Path) -> fidelity.Result:
    """What the model loses with the SAE's output in place of its own."""
    made = harvested()
    cfg = fidelity.Config.model_validate({"tokens": 10_000})
    return fidelity.measure(SAE.load(checkpoint), made.lm, made.store, cfg)
