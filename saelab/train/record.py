"""training.json: which run a folder holds, whether it is finished, and what came out. Written first and last.

A checkpoint kept on the way lies beside the run's folder, as NAME.step-N, and is one as any other: what reads
checkpoints reads it while the training still runs. Its training.json also says `step`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

from saelab import sealed
from saelab.config import write_yaml
from saelab.errors import CheckpointError, ConfigError
from saelab.train.config import OptimiserConfig
from saelab.train.evaluate import Figures
from saelab.train.metrics_log import read_metrics
from saelab.train.normalise import CACHE
from saelab.train.plans import Plan
from saelab.train.sites import SCALES, listed
from saelab.train.trainee import Trainee

RECORD, SETTINGS, METRICS = "training.json", "train.yaml", "metrics.jsonl"
KEPT = ".step-"


def read_record(plan: Plan) -> dict[str, Any] | None:
    """training.json of an earlier call, None when there was none.

    Raises ConfigError when it is another run's, and CheckpointError when it is damaged.
    """
    path = plan.folder / RECORD
    try:
        record = sealed.read(path)
        if not (isinstance(record.get("settings"), dict) and isinstance(record.get("finished"), bool)):
            raise ValueError("it lacks `settings` or `finished`")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.\n  fix:   delete {plan.folder} and train it anew") from None
    there, here = _flat(record["settings"]), _flat(plan.identity())
    usual = _flat({"train": OptimiserConfig().model_dump(mode="json")})  # a setting that an older version did not have
    there |= {key: usual[key] for key in here.keys() - there.keys() if key in usual}
    keys = sorted(key for key in there | here if there.get(key) != here.get(key))
    if keys:
        differing = "\n".join(f"  {key}: {there.get(key)!r} there, {here.get(key)!r} now" for key in keys)
        raise ConfigError(
            f"{plan.folder} holds a run with other settings:\n{differing}\n"
            "  fix:   give this run another `name` or `out`, or delete that folder"
        )
    return record


def finished(plan: Plan) -> bool:
    """Whether the checkpoint is there, made by these very settings."""
    record = read_record(plan)
    return record is not None and record["finished"]


def begin(plan: Plan) -> None:
    """Leave in the folder what the run will be, unless an earlier call has done so."""
    if read_record(plan) is None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        sealed.write(plan.folder / RECORD, {"format": 1, "finished": False, "settings": plan.identity()})


def abandon(plan: Plan) -> None:
    """Take back what `begin` left, when nothing came of the run."""
    files = {path.relative_to(plan.folder).as_posix() for path in plan.folder.rglob("*") if path.is_file()}
    if files <= {RECORD, CACHE, SCALES}:
        rmtree(plan.folder)


def finish(trainee: Trainee, about_sites: Mapping[str, Any]) -> None:
    """Write the checkpoint in raw units, its settings as resolved, and training.json last of all."""
    plan = trainee.plan
    looks = [line["heldout"] for line in read_metrics(trainee.log.path) if "heldout" in line]
    _write(trainee, plan.folder, {"heldout": looks[-1] if looks else None}, about_sites)


def keeps(trainee: Trainee) -> bool:
    """Whether the look that is due now is one at which a checkpoint is kept; the last is kept anyway."""
    cfg = trainee.plan.cfg
    return cfg.keep > 0 and not trainee.finished and trainee.rows // cfg.eval_every % cfg.keep == 0


def keep(trainee: Trainee, figures: Figures | None, about_sites: Mapping[str, Any]) -> Path:
    """Write the checkpoint as it is at this step, with the figures of the look just taken; its folder."""
    folder = kept_folder(trainee.plan.folder, trainee.step)
    heldout = figures and {**asdict(figures), "dead_in_training": trainee.dead_in_training()}
    _write(trainee, folder, {"heldout": heldout, "step": trainee.step}, about_sites)
    return folder


def kept_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is kept."""
    return folder.with_name(f"{folder.name}{KEPT}{step}")


def _write(trainee: Trainee, folder: Path, more: Mapping[str, Any], about_sites: Mapping[str, Any]) -> None:
    plan = trainee.plan
    outcome = {
        "rows": trainee.rows,
        **more,
        "dead_in_training": trainee.dead_in_training(),
        "scale": trainee.normalisation.scale,
    }
    trainee.folded().save(folder, metadata={**_metadata(plan, outcome), **about_sites})
    write_yaml(folder / SETTINGS, plan.cfg)
    files = {name: sealed.digest(folder / name) for name in (SETTINGS, METRICS) if (folder / name).is_file()}
    sealed.write(
        folder / RECORD, {"format": 1, "finished": True, "settings": plan.identity(), **outcome, "files": files}
    )


def _metadata(plan: Plan, outcome: dict[str, Any]) -> dict[str, Any]:
    origin = plan.origin
    return {
        "model_name": origin["model_name"],
        "model_fingerprint": origin["model_fingerprint"],
        "hook_name": listed(plan.site),
        "hook_name_out": listed(plan.target or plan.site),
        "context_size": origin["context_size"],
        "store_hash": origin["hash"],
        "harvest": origin["harvest"],
        "training": outcome,
    }


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"sae": {"k": 8}} -> {"sae.k": 8}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return flat
