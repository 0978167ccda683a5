"""The whole way on the bundled model: text -> activations -> SAE -> index -> figures and labelled features."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saelab.config import settings, write_yaml
from saelab.contracts import Progress, Silent
from saelab.errors import EvalError
from saelab.evals import EVALS, SHORT, FeatureLabel, Subject, feature_labels
from saelab.explain import RuleConfig, label_features
from saelab.features import Index, build_index, write_labels
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.runs import keep_evaluation
from saelab.sae import SAE
from saelab.store import Store
from saelab.train import TrainConfig, train

NAME = "topk-2048-k32"
RULE_TOKENS = 300_000  # half of the text: as many features get a good rule, within 3 %, in two thirds of the time
SITE = "resid_post.2"


@dataclass(frozen=True)
class Demo:
    """Where everything lies, and the figures the last tables show."""

    folder: Path
    checkpoint: Path
    fvu: float
    l0: float
    dead_share: float
    ce_recovered: float
    features: list[FeatureLabel]  # the best one of each label
    evaluations: dict[str, Any]


def harvest_config(out: Path, tokens: int) -> HarvestConfig:
    """The demo's activation store: the third block's output over the standard library."""
    return HarvestConfig(sites=[SITE], tokens=tokens, heldout_tokens=tokens // 10, out=out / "store")


def train_config(out: Path, passes: float, tokens: int) -> TrainConfig:
    """The demo's SAE."""
    values = {
        "store": str(out / "store"),
        "sae": {"variant": "topk", "d_sae": 2048, "k": 32},
        "train": {"rows": int(passes * tokens)},
        "name": NAME,
        "out": str(out / "sae"),
    }
    return settings(TrainConfig, values, where="demo")


def demo(out: Path, tokens: int = 600_000, passes: float = 2.0, progress: Progress | None = None) -> Demo:
    """Run it all under `out`. Every step goes on where an earlier call stopped."""
    harvesting, training = harvest_config(out, tokens), train_config(out, passes, tokens)
    out.mkdir(parents=True, exist_ok=True)
    write_yaml(out / "harvest.yaml", harvesting)
    write_yaml(out / "train.yaml", training)
    lm = LanguageModel.load(harvesting.model)
    store = harvest(harvesting, progress, lm=lm)
    checkpoint = train(training, progress)[0].path
    index = build_index(checkpoint, store, out / "index" / NAME, lm=lm, progress=progress)
    sae = SAE.load(checkpoint)
    subject = Subject.of(sae, lm, store, NAME)
    results = {name: EVALS[name].run(subject, EVALS[name].Config(), progress) for name in SHORT}
    for name, result in results.items():
        keep_evaluation(checkpoint, name, result.to_json())
    write_labels(index.path, labels(index, store, lm, feature_labels(results["syntax"]), progress or Silent()))
    fidelity = results["fidelity"]
    return Demo(
        folder=out,
        checkpoint=checkpoint,
        fvu=fidelity.fvu,
        l0=fidelity.l0,
        dead_share=fidelity.dead_share,
        ce_recovered=fidelity.ce_recovered,
        features=best_of_each_label(results["syntax"].features),
        evaluations={name: result.to_json() for name, result in results.items()},
    )


def labels(
    index: Index, store: Store, lm: LanguageModel, syntax: dict[int, dict[str, Any]], progress: Progress
) -> dict[int, dict[str, Any]]:
    """The rules in words that `saelab label` finds; what `syntax` says when there is too little text for rules."""
    cfg = RuleConfig.model_validate({"tokens": RULE_TOKENS})
    try:
        return label_features(index, store, lm, cfg, progress).as_labels()
    except EvalError as error:
        progress.note(f"Labels are those of Python's syntax alone: {error}")
        return syntax


def best_of_each_label(features: Iterable[FeatureLabel]) -> list[FeatureLabel]:
    """For every label the feature that stands for it best, by falling F1."""
    best: dict[str, FeatureLabel] = {}
    for one in sorted(features, key=lambda one: (-one.f1, one.feature)):
        best.setdefault(one.label, one)
    return list(best.values())


def as_json(result: Demo) -> dict[str, Any]:
    """The demo's figures as plain values."""
    return {**asdict(result), "folder": str(result.folder), "checkpoint": str(result.checkpoint)}
