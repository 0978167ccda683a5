"""Train on several sites at once: `site: [resid_post.1, resid_post.2]` or `[resid_post.1-2]`, and `target` likewise.

Any variant can. To the trainer several sites are one, whose rows are those of the sites side by side, each in units of
its own scale (see saelab.sae.sites). The scales are measured once, on the sample that centre and scale of a single site
are taken of, and kept in the run's folder.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saelab import sealed
from saelab.errors import CheckpointError, ConfigError
from saelab.sae import MODELS, SAE
from saelab.sae.sites import READ, WRITTEN, Part, Sites
from saelab.store.layout import GRADIENT
from saelab.train.config import TrainConfig
from saelab.train.data import RowSource, choose_site
from saelab.train.normalise import SAMPLE, Normalisation

JOINER = "+"  # between the names of sites that are one to the trainer; no site's name holds it
SCALES = "state/sites.json"


class JoinedRows:
    """A RowSource that also has rows of `a+b`: those of sites a and b side by side, in units of their scales."""

    def __init__(self, source: RowSource, scales: Mapping[str, float] | None = None) -> None:
        self.source, self.scales = source, dict(scales or {})
        self.sites = source.sites
        self._sampled: tuple[int, dict[str, Tensor]] | None = None  # what the scales were measured on

    @property
    def gradient_sites(self) -> tuple[str, ...]:
        """Sites with gradients beside their rows."""
        return tuple(getattr(self.source, "gradient_sites", ()))

    def parts(self, site: str) -> Sites:
        """What a row of `site` consists of."""
        names = site.split(JOINER)
        scales = self.scales if len(names) > 1 else {}
        return Sites(tuple(Part(name, self.source.d(name), scales.get(name, 1.0)) for name in names))

    def d(self, site: str) -> int:
        return self.parts(site).d if JOINER in site else self.source.d(site)

    def rows(self) -> int | None:
        return self.source.rows()

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        if self._sampled is not None and self._sampled[0] == rows:
            return self._joined(sites, self._sampled[1])
        return self._joined(sites, self.source.sample(_raw(sites), rows))

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        with closing(self.source.batches(_raw(sites), batch, seed, start)) as batches:
            for rows in batches:
                yield self._joined(sites, rows)

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        held = self.source.heldout(_raw(sites), rows)
        return None if held is None else self._joined(sites, held)

    def origin(self) -> dict[str, Any]:
        return self.source.origin()

    def measured(self, sites: Sequence[str]) -> "JoinedRows":
        """The same rows, in units of scales measured on a sample of them."""
        sample = self.source.sample(_raw(sites), SAMPLE)
        scales = {name: Normalisation.of(rows, rows).scale for name, rows in sample.items()}
        made = JoinedRows(self.source, scales)
        made._sampled = SAMPLE, sample
        return made

    def _joined(self, sites: Sequence[str], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {site: self._row(site, rows) if JOINER in site else rows[site] for site in sites}

    def _row(self, site: str, rows: Mapping[str, Tensor]) -> Tensor:
        if not site.endswith(GRADIENT):
            return self.parts(site).join(rows)
        parts = self.parts(site.removesuffix(GRADIENT)).parts  # d loss / d (s x) = (d loss / d x) / s
        return torch.cat([rows[part.name + GRADIENT].float() / part.scale for part in parts], dim=-1)


def _raw(sites: Sequence[str]) -> list[str]:
    """What the source calls the columns that these consist of, each once."""
    found: dict[str, None] = {}
    for site in sites:
        suffix = GRADIENT if site.endswith(GRADIENT) else ""
        found |= dict.fromkeys(name + suffix for name in site.removesuffix(GRADIENT).split(JOINER))
    return list(found)


def over_sites(cfg: TrainConfig, source: RowSource) -> RowSource:
    """The source as a config of several sites needs it; as it is for all others."""
    several = isinstance(cfg.site, list) or isinstance(cfg.target, list)
    return JoinedRows(source) if several and not isinstance(source, JoinedRows) else source


def choose_sites(source: RowSource, stated: str | Sequence[str] | None, setting: str) -> str:
    """The site that `setting` names; of several, their names joined. Raises a SaelabError for what is not there."""
    if stated is None or isinstance(stated, str):
        return choose_site(source, stated, setting)
    names = [choose_site(source, name, setting) for part in stated for name in _expanded(part)]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{setting} = {list(stated)}: name every site once, and at least one")
    return JOINER.join(names)


def _expanded(name: str) -> list[str]:
    """`resid_post.1-3` as the three sites it stands for; any other name as it is."""
    several = re.fullmatch(r"(\w+)\.(\d+)-(\d+)", name)
    if several is None:
        return [name]
    return [f"{several[1]}.{layer}" for layer in range(int(several[2]), int(several[3]) + 1)]


def layer_settings(entry: Mapping[str, Any], site: str, target: str | None) -> dict[str, Any]:
    """`layers` of what reads and writes a site of each layer; nothing for anything else. Raises ConfigError."""
    kind = MODELS.get(str(entry.get("variant")))
    if kind is None or "layers" not in kind.Config.model_fields:
        return {}
    read, written = ([name.split(".")[1] for name in (joined or "").split(JOINER) if name] for joined in (site, target))
    if read != written or [*map(int, read)] != sorted({*map(int, read)}):
        raise ConfigError(
            f"sae.variant = {entry['variant']!r} reads one site of each layer and writes one of the same layers, from "
            f"the first to the last.\n  site:   layers {', '.join(read)}\n"
            f"  target: layers {', '.join(written) or 'none'}\n"
            "  fix:   for example site: [mlp_in.0-3] and target: [mlp_out.0-3]"
        )
    if entry.get("layers") not in (None, len(read)):
        raise ConfigError(
            f"sae.layers = {entry['layers']}, but site lists {len(read)}.\n  fix:   leave sae.layers out: it is derived"
        )
    return {"layers": len(read)}


def listed(site: str) -> str | list[str]:
    """As settings and metadata name it: one site, or the list of several."""
    return site.split(JOINER) if JOINER in site else site


def in_units(
    source: RowSource, sites: Sequence[str], folders: Sequence[Path], starts: Sequence[Path | None] = ()
) -> RowSource:
    """The source in units of its sites' scales; each folder keeps them, so that a resumed run reads them instead.

    What starts from a checkpoint takes the checkpoint's. Raises ConfigError when two of them differ.
    """
    if not isinstance(source, JoinedRows) or not any(JOINER in site for site in sites):
        return source
    kept = next((folder / SCALES for folder in folders if (folder / SCALES).is_file()), None)
    began = [start for start in starts if start is not None]
    scales = _scales_of(began) if kept is None else _kept_scales(kept)
    source = JoinedRows(source.source, scales) if scales else source.measured(sites)
    for folder in folders:
        if not (folder / SCALES).is_file():
            sealed.write(folder / SCALES, source.scales)
    return source


def _kept_scales(path: Path) -> dict[str, float]:
    try:
        return sealed.read(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}.\n  fix:   delete {path.parent} and train it anew") from None


def _scales_of(checkpoints: Sequence[Path]) -> dict[str, float]:
    """The scales that these checkpoints were trained in; none of no checkpoint."""
    found = []
    for checkpoint in checkpoints:
        metadata = SAE.load(checkpoint).metadata
        parts = [*metadata.get(READ, []), *metadata.get(WRITTEN, [])]
        found.append({part["name"]: part["scale"] for part in parts})
    if any(scales != found[0] for scales in found):
        raise ConfigError(
            f"train.start_from: {checkpoints[0]} and others were trained in other units of their sites.\n"
            "  fix:   go on from each in a run of its own"
        )
    return found[0] if found else {}


def about_sites(source: RowSource, site: str, target: str | None) -> dict[str, Any]:
    """What a checkpoint's metadata say of several sites; nothing of one."""
    if not isinstance(source, JoinedRows):
        return {}
    wanted = {READ: site, WRITTEN: target or site}
    return {key: source.parts(name).to_json() for key, name in wanted.items() if JOINER in name}


def places(source: RowSource, site: str) -> dict[str, slice] | None:
    """Where each of several sites stands in their joined rows; None of one."""
    return source.parts(site).places() if isinstance(source, JoinedRows) and JOINER in site else None
