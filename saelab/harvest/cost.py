"""What a harvest will cost, told before it starts."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from saelab.atomic import free_bytes
from saelab.harvest.config import HarvestConfig
from saelab.harvest.forward import of_pass
from saelab.harvest.plan import context_length
from saelab.lm import LanguageModel
from saelab.lm.sites import expand
from saelab.store.layout import DTYPES, META_BYTES, gradient_dtype

OVERHEAD = 1.02  # parquet's own: headers, footers, statistics
TRIAL = 4  # contexts at most in the trial pass that the time is estimated from


@dataclass(frozen=True)
class HarvestEstimate:
    """At most: a corpus may end before the tokens asked for."""

    tokens: int
    contexts: int
    bytes: int
    free_bytes: int
    seconds: float | None

    def __str__(self) -> str:
        time = "" if self.seconds is None else f", about {self.seconds:.0f} s"
        size = f"{self.bytes / 1e6:.0f} MB of disk ({self.free_bytes / 1e9:.1f} GB free)"
        return f"{self.tokens:,} tokens in {self.contexts:,} contexts, {size}{time}"


def estimate(cfg: HarvestConfig, lm: LanguageModel | None = None) -> HarvestEstimate:
    """Tokens, contexts, bytes on disk, and the time they would take, by a trial pass."""
    lm = lm or load_model(cfg)
    widths = site_widths(cfg, lm)
    length = context_length(cfg, lm)
    tokens = cfg.tokens + cfg.heldout_tokens
    contexts = -(-tokens // (length - (lm.bos is not None)))
    return HarvestEstimate(
        tokens=tokens,
        contexts=contexts,
        bytes=round(tokens * row_bytes(cfg, widths) * OVERHEAD),
        free_bytes=free_bytes(cfg.out),
        seconds=contexts * _seconds_per_context(lm, widths, length, min(TRIAL, cfg.at_once), cfg.gradients),
    )


def load_model(cfg: HarvestConfig) -> LanguageModel:
    return LanguageModel.load(cfg.model, device=cfg.device, dtype=cfg.compute_dtype)


def site_widths(cfg: HarvestConfig, lm: LanguageModel) -> dict[str, int]:
    """The sites asked for, by their full names, and their widths. Raises SiteError listing what the model has."""
    return {site: lm.d_site(site) for site in expand(cfg.sites, lm.n_layers)}


def row_bytes(cfg: HarvestConfig, widths: Mapping[str, int]) -> int:
    """Bytes of one token at all sites, on disk."""
    number = DTYPES[cfg.dtype].itemsize + (DTYPES[gradient_dtype(cfg.dtype)].itemsize if cfg.gradients else 0)
    return sum(width * number + META_BYTES for width in widths.values())


def _seconds_per_context(
    lm: LanguageModel, widths: Mapping[str, int], length: int, trial: int, gradients: bool
) -> float:
    ids = torch.arange(trial * length).remainder(lm.n_vocab).view(trial, length)
    lengths = torch.full((trial,), length)
    of_pass(lm, ids, lengths, list(widths), gradients)  # the first pass sets things up
    start = time.perf_counter()
    found = of_pass(lm, ids, lengths, list(widths), gradients)
    next(iter(found.values())).sum().item()  # waits for the device
    return (time.perf_counter() - start) / trial
