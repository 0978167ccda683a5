"""`layer_groups`: one SAE per group of layers, and of each a checkpoint for every layer of its group.

A group's SAE is trained by `train` on the rows of its layers, pooled (saelab.train.pooled), into a folder beside `out`,
OUT-groups. Its checkpoints in `out`, one per layer, are the same SAE with the layer's centre and scale folded in:
ordinary SAEs of one site, so that everything that reads checkpoints takes them as they are. Their figures are of
held-out rows of that layer alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from saelab.contracts import Progress, Silent
from saelab.errors import ConfigError
from saelab.sae import MODELS, SAE, Replacement
from saelab.train.config import TrainConfig
from saelab.train.cost import plan
from saelab.train.data import RowSource, rows_of
from saelab.train.evaluate import Figures, evaluate
from saelab.train.layer_groups import LayerGroups, group_layers, layer_of
from saelab.train.normalise import SAMPLE
from saelab.train.plans import out_folder, plans
from saelab.train.pooled import PooledRows
from saelab.train.run import TrainResult, train
from saelab.train.sites import JOINER, choose_sites

GROUPS, LAYERS = "-groups", ".layers-"  # behind the folder of the checkpoints; before the layers of a group


def groups_of(cfg: TrainConfig, source: RowSource | None = None) -> LayerGroups:
    """How the sites of `cfg` are grouped, found on a sample of their rows."""
    assert cfg.layer_groups is not None
    source = source or rows_of(cfg)
    stated = list(source.sites) if cfg.site is None else cfg.site
    sites = choose_sites(source, stated, "site").split(JOINER)
    _trainable(cfg, sites)
    return group_layers(source.sample(sites, SAMPLE), cfg.layer_groups)


def train_groups(
    cfg: TrainConfig, groups: LayerGroups, progress: Progress | None = None, source: RowSource | None = None
) -> list[TrainResult]:
    """Train every SAE of `cfg` for each group; a result for every layer, in their order, SAE by SAE."""
    source, progress = source or rows_of(cfg), progress or Silent()
    found = [_train_group(cfg, sites, source, progress) for sites in groups.groups]
    return [result for by_sae in zip(*found, strict=True) for results in by_sae for result in results]


def group_plans(cfg: TrainConfig, source: RowSource | None = None) -> tuple[LayerGroups, list[dict[str, Any]]]:
    """The groups, and of each what training it would cost, found out without doing it."""
    source = source or rows_of(cfg)
    groups = groups_of(cfg, source)
    pools = [PooledRows(source, sites) for sites in groups.groups]
    return groups, [plan(group_config(cfg, pool), pool) for pool in pools]


def group_config(cfg: TrainConfig, source: PooledRows) -> TrainConfig:
    """What trains one group: the same settings, every SAE's name with the group's layers."""
    out = out_folder(cfg)
    one = cfg.model_copy(update={"layer_groups": None, "site": None, "out": out.with_name(out.name + GROUPS)})
    entries = cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]
    layers = "-".join(dict.fromkeys([layer_of(source.of[0]), layer_of(source.of[-1])]))
    names = [f"{plan.name}{LAYERS}{layers}" for plan in plans(one, source)]
    named = [{**entry, "name": name} for entry, name in zip(entries, names, strict=True)]
    return one.model_copy(update={"sae": named, "name": None})


def _train_group(
    cfg: TrainConfig, sites: Sequence[str], source: RowSource, progress: Progress
) -> list[list[TrainResult]]:
    """Of each SAE the results of the layers."""
    pooled, held = PooledRows(source, sites), source.heldout(sites, cfg.heldout_rows)
    trained = train(group_config(cfg, pooled), progress, pooled)
    rows: Mapping[str, Tensor | None] = held or dict.fromkeys(sites)
    return [[_layer(cfg, group, pooled, site, rows[site]) for site in sites] for group in trained]


def _layer(cfg: TrainConfig, group: TrainResult, pooled: PooledRows, site: str, held: Tensor | None) -> TrainResult:
    """Write the checkpoint of one layer."""
    trained = SAE.load(group.path)
    sae = trained.fold(pooled.units[site])
    figures = Figures(0) if held is None else evaluate(sae, held.float(), held.float(), cfg.train.batch)
    name = f"{group.name.rpartition(LAYERS)[0]}.layer-{layer_of(site)}"
    sae.save(out_folder(cfg) / name, metadata=_metadata(trained.metadata, site, pooled, figures))
    shown = {key: getattr(figures, key) for key in ("fvu", "l0", "dead_share", "cosine", "own")}
    return replace(group, name=name, path=out_folder(cfg) / name, **shown)


def _metadata(of_group: Mapping[str, Any], site: str, pooled: PooledRows, figures: Figures) -> dict[str, Any]:
    training = {**of_group.get("training", {}), "heldout": asdict(figures), "scale": pooled.units[site].scale}
    return {**of_group, "hook_name": site, "hook_name_out": site, "layer_group": list(pooled.of), "training": training}


def _trainable(cfg: TrainConfig, sites: Sequence[str]) -> None:
    """Raise ConfigError for what a group of layers cannot have."""
    if len(sites) < 2:
        raise ConfigError(f"layer_groups puts layers together, but there is one site: {sites[0]}.\n  fix:   name more")
    for key, usual in (("target", None), ("keep", 0)):
        if getattr(cfg, key) != usual:
            raise ConfigError(f"layer_groups with {key} = {getattr(cfg, key)!r}: leave one of the two out")
    for entry in cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]:
        kind = MODELS.get(str(entry.get("variant")))
        if kind is not None and (issubclass(kind, Replacement) or not kind.reproduces_rows):
            raise ConfigError(f"layer_groups trains SAEs that reproduce rows of one site; {entry['variant']} does not")
