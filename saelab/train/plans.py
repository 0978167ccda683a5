"""From settings to what will be trained: everything derived and everything checked, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saelab.config import settings
from saelab.contracts import NAME
from saelab.errors import ConfigError, StoreError, StoreMismatch
from saelab.sae import MODELS, SAEConfig, sae_config
from saelab.store import gradient_of
from saelab.train.config import SHARED, OptimiserConfig, TrainConfig
from saelab.train.data import RowSource, WithGradients
from saelab.train.defaults import default_dead_after, default_learning_rate, resolve_device, resolve_precision
from saelab.train.end_to_end import require_model
from saelab.train.sequences import sequence_settings
from saelab.train.sites import JOINER, choose_sites, layer_settings, listed, over_sites
from saelab.train.start import continued

NEUTRAL = {"store", "out", "name", "save_minutes", "keep"}  # settings that do not change what comes out


@dataclass(frozen=True)
class Plan:
    """One SAE that will be trained."""

    name: str
    folder: Path
    sae: SAEConfig
    cfg: TrainConfig  # as resolved, with this SAE alone: trains the same again
    site: str  # several are joined to one (see saelab.train.sites)
    target: str | None
    origin: dict[str, Any]

    @property
    def train(self) -> OptimiserConfig:
        return self.cfg.train

    @property
    def sites(self) -> list[str]:
        return [self.site] if self.target is None else [self.site, self.target]

    @property
    def gradient(self) -> str:
        """What the gradients beside the rows to be reproduced are called."""
        return gradient_of(self.sites[-1])

    @property
    def columns(self) -> list[str]:
        """What a batch is made of: rows, and gradients where the variant wants them."""
        return [*self.sites, self.gradient] if self.sae.wants_gradient else self.sites

    @property
    def cuda_devices(self) -> list[int]:
        """Devices whose random numbers training touches besides the CPU's."""
        device = torch.device(self.train.device)
        return [device.index or 0] if device.type == "cuda" else []

    def identity(self) -> dict[str, Any]:
        """What a run under the same name must agree in to be the same run."""
        values = self.cfg.model_dump(mode="json", exclude=NEUTRAL)
        values["train"].pop("device")
        return {"rows_from": self.origin["hash"], **values}


def plans(cfg: TrainConfig, source: RowSource) -> list[Plan]:
    """One Plan per SAE. Raises a SaelabError for whatever cannot be trained as it stands."""
    if cfg.layer_groups is not None:
        raise ConfigError("layer_groups: `saelab train` trains each group; in Python call saelab.train.train_groups.")
    source = over_sites(cfg, source)
    site = choose_sites(source, cfg.site, "site")
    target = None if cfg.target is None else choose_sites(source, cfg.target, "target")
    _enough_rows(cfg, source)
    entries = cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]
    if not entries:
        raise ConfigError("sae: the list is empty; name at least one SAE to train.")
    if cfg.name is not None and len(entries) > 1:
        raise ConfigError(
            f"name: {cfg.name!r} is one name, but sae lists {len(entries)}.\n  fix:   put `name` into each entry"
        )
    made = [_plan(cfg, entry, source, site, target) for entry in entries]
    _distinct([plan.name for plan in made])
    return made


def out_folder(cfg: TrainConfig) -> Path:
    """Where the checkpoints go."""
    return cfg.out or (cfg.store.parent / "sae" if cfg.store else Path(f"runs/{cfg.source}/sae"))


def _plan(cfg: TrainConfig, entry: Mapping[str, Any], source: RowSource, site: str, target: str | None) -> Plan:
    optimiser = entry.get("train") or {}
    if not isinstance(optimiser, Mapping):
        raise ConfigError(f"sae.train = {optimiser!r}: expected settings of the optimiser, for example {{lr: 1.0e-3}}")
    own = {key: value for key, value in entry.items() if key not in ("name", "train")}
    start = optimiser.get("start_from", cfg.train.start_from)
    if start is not None:
        d_in, d_out = source.d(site), source.d(target or site)
        own = continued(own, Path(start), {"d_in": d_in, "d_out": d_out, "transcoder": target is not None})
    sae = _variant(own, source, site, target, cfg.train.batch)
    train = _train(cfg.train, optimiser, sae)
    _recipes_fit(sae, train)
    _gradients_are_there(sae, source, target or site)
    _large_enough_batch(sae, train)
    require_model(train.end_to_end, sae, source, target or site, train.batch)
    stated = entry.get("name", cfg.name)
    own_values = {key: getattr(train, key) for key in optimiser}
    name = _checked(str(stated) if stated is not None else derived_name(sae, own_values))
    out = out_folder(cfg)
    resolved = {
        "site": listed(site),
        "target": None if target is None else listed(target),
        "sae": sae.model_dump(mode="json"),
        "train": train.model_dump(mode="json"),
        "out": str(out),
        "name": name,
    }
    whole = settings(TrainConfig, {**cfg.model_dump(mode="json"), **resolved}, where="train")
    return Plan(name, out / name, sae, whole, site, target, source.origin())


def _variant(entry: Mapping[str, Any], source: RowSource, site: str, target: str | None, batch: int) -> SAEConfig:
    """The variant's settings, its widths taken from the rows."""
    widths = {"d_in": source.d(site)}
    if target is not None:
        widths |= {"d_out": source.d(target), "transcoder": True}
    for key, place in (("d_in", site), ("d_out", target or site)):
        if entry.get(key) is not None:
            _same_width(key, entry[key], source, place)
    return sae_config({**entry, **widths, **_from_rows(entry, source, site, target, batch)})


def _from_rows(
    entry: Mapping[str, Any], source: RowSource, site: str, target: str | None, batch: int
) -> dict[str, Any]:
    """Settings besides the widths that follow from the rows, for a kind that has them."""
    return {**sequence_settings(entry, source, batch), **layer_settings(entry, site, target)}


def _same_width(key: str, stated: Any, source: RowSource, site: str) -> None:
    width, origin = source.d(site), source.origin()
    if stated != width:
        verb = "reads" if key == "d_in" else "writes"
        raise StoreMismatch(
            f"the rows have width {width}, but the SAE {verb} width {stated}.\n"
            f"  rows:  {origin['model_name']}, {site}, store {origin['hash']}\n"
            f"  fix:   leave sae.{key} out (it is derived), or train on rows of the site this SAE is for"
        )


def _train(common: OptimiserConfig, own: Mapping[str, Any], sae: SAEConfig) -> OptimiserConfig:
    """The optimiser's settings of one SAE, with what was left open filled in."""
    shared = sorted(set(own) & set(SHARED))
    if shared:
        raise ConfigError(
            f"sae.train.{shared[0]}: all SAEs of one pass see the same batches; set train.{shared[0]} for all of them."
        )
    train = settings(OptimiserConfig, {**common.model_dump(), **own}, where="sae.train")
    device = resolve_device(common.device)
    derived = {
        "lr": train.lr or default_learning_rate(sae.d_sae, train.rows),
        "dead_after": train.dead_after or default_dead_after(train.rows, sae.d_sae, sae.active),
        "order_seed": common.seed if common.order_seed is None else common.order_seed,
        "device": device,
        "precision": resolve_precision(train.precision, device),
    }
    return settings(OptimiserConfig, {**train.model_dump(), **derived}, where="train")


def _recipes_fit(sae: SAEConfig, train: OptimiserConfig) -> None:
    """Raise ConfigError for a beginning or a schedule that this SAE cannot have."""
    for name, usual in (("init", "random"), ("init_b_dec", "mean")):
        if getattr(train, name) != usual and not MODELS[sae.variant].reproduces_rows:
            raise ConfigError(
                f"train.{name} = {getattr(train, name)!r} is about a decoder, and {sae.variant} has none.\n"
                "  fix:   leave it out"
            )
    if train.init != "random" and not getattr(MODELS[sae.variant], "one_decoder", True):
        raise ConfigError(
            f"train.init = {train.init!r} moves the rows of one W_dec, and {sae.variant} has one for every pair of "
            "layers.\n  fix:   leave it out"
        )
    if train.subspace_rank is not None and train.subspace_rank > sae.width_out:
        raise ConfigError(
            f"train.subspace_rank = {train.subspace_rank}, but the rows have {sae.width_out} dimensions.\n"
            "  fix:   lower it, or leave it out: it is then what holds 99 % of the variance"
        )
    if train.anneal_k_from is None:
        return
    if getattr(sae, "k", None) is None:
        raise ConfigError(
            f"train.anneal_k_from = {train.anneal_k_from}, but {sae.variant} does not keep a number k of features.\n"
            "  fix:   leave it out"
        )
    k = sae.k  # type: ignore[attr-defined]
    for each in range(min(k, train.anneal_k_from), max(k, train.anneal_k_from) + 1):
        sae_config({**sae.model_dump(), "k": each}, where=f"train.anneal_k_from = {train.anneal_k_from}")


def _gradients_are_there(sae: SAEConfig, source: RowSource, site: str) -> None:
    """Raise StoreMismatch for an SAE that is trained on gradients and rows that come without."""
    if not sae.wants_gradient:
        return
    there = source.gradient_sites if isinstance(source, WithGradients) else ()
    missing = [part for part in site.split(JOINER) if part not in there]
    if missing:
        raise StoreMismatch(
            f"{sae.variant} selects features by the gradient of the model's loss, but the rows of {missing[0]} come "
            f"without gradients.\n  rows:  {source.origin()['model_name']}, store {source.origin()['hash']}\n"
            "  fix:   harvest them into a store of their own: saelab harvest CONFIG --set gradients=true --set out=DIR"
        )


def _large_enough_batch(sae: SAEConfig, train: OptimiserConfig) -> None:
    least = getattr(sae, "least_batch", 1)
    if train.batch < least:
        raise ConfigError(
            f"train.batch = {train.batch}, but a {sae.variant} SAE of sae.d_sae = {sae.d_sae} features needs batches "
            f"of at least {least} rows.\n  fix:   raise train.batch, or sae.k, or lower sae.d_sae"
        )


def derived_name(sae: SAEConfig, own: Mapping[str, Any]) -> str:
    """`{variant}-{d_sae}`, its kind where it has kinds, what sets this sparsity, what of the optimiser is its own."""
    name = "-".join([sae.variant, *([sae.kind] if hasattr(sae, "kind") else []), str(sae.d_sae)])
    for field, short in (("k", "k"), ("target_l0", "l0"), ("l1", "l1"), ("l0", "l0")):
        value = getattr(sae, field, None)
        if value is not None:
            name += f"-{short}{_plain(value)}"
            break
    return name + "".join(f"-{key}{_plain(value)}" for key, value in own.items())


def _plain(value: Any) -> str:
    """As it stands in a name: 0.0003 and 3e-04 are the same, and a folder is the last part of its path."""
    if isinstance(value, Path):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"name: {name!r} cannot name a run. Use up to 100 letters, digits, '.', '_' and '-', "
            "beginning with a letter or a digit."
        )
    return name


def _distinct(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"sae: two entries are called {twice[0]!r}.\n  fix:   give each a `name` of its own")


def _enough_rows(cfg: TrainConfig, source: RowSource) -> None:
    rows = source.rows()
    if rows is not None and rows < cfg.train.batch:
        raise StoreError(
            f"there are {rows} rows, but a batch takes {cfg.train.batch}.\n"
            "  fix:   harvest more tokens, or set train.batch to less"
        )
