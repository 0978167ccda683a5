"""What was read of another library's SAE, in saelab's conventions; the folding that leads there; the SAE made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.contracts import canonical_site
from saelab.errors import ConfigError, FormatError, SiteError
from saelab.sae import MODELS, SAE, sae_config

TINY = torch.finfo(torch.float32).tiny  # the least threshold that has a logarithm


@dataclass
class Found:
    """One SAE. `tensors` are fp32 under saelab's names, and `threshold`; `done` says what was converted on the way."""

    settings: dict[str, Any]
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    files: Sequence[Path]
    done: list[str] = field(default_factory=list)
    name: str = ""  # of its folder, where a path holds several

    def sae(self) -> SAE:
        """As an SAE in evaluation mode. Raises FormatError for settings that no variant can have."""
        try:
            cfg = sae_config(self.settings, where=str(self.files[0]))
        except ConfigError as error:
            raise FormatError(str(error)) from None
        with torch.device("meta"):
            sae = MODELS[cfg.variant](cfg)
        state = self._state(sae)
        sae.load_state_dict(state, assign=True)
        sae.metadata = dict(self.metadata)
        return sae.eval()

    def _state(self, sae: SAE) -> dict[str, Tensor]:
        """What was found, and counters at their beginning."""
        state = dict(self.tensors)
        threshold = state.pop("threshold", None)
        like = sae.state_dict()
        if threshold is not None and "log_threshold" in like:
            state["log_threshold"] = threshold.clamp_min(TINY).log()  # ReLU comes first: no threshold is below 0
        elif threshold is not None:
            state |= {"running_threshold": threshold.clamp_min(0), "batches_seen": torch.ones((), dtype=torch.int64)}
        state |= {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in like.items() if name not in state}
        if sae.has_encoder:
            state["W_enc"] = state["W_enc"].t().contiguous().t()  # a feature's weights contiguous, as in training
        return {name: tensor if name == "W_enc" else tensor.contiguous() for name, tensor in state.items()}

    def at(self, site: str | None, out: str | None = None) -> None:
        """Note the places read and reproduced, as saelab calls them where it has a name for them."""
        for key, place in (("hook_name", site), ("hook_name_out", out)):
            if place:
                self.metadata[key] = self._known(place)

    def reproduce(self, target: str) -> None:
        """Make an autoencoder a transcoder of the site `target`, as its files leave open."""
        if self.settings.get("apply_b_dec_to_input", not self.settings.get("transcoder", False)):
            raise FormatError("--target is for transcoders, but this SAE takes b_dec off its input, so it is none.")
        self.settings |= {"d_out": self.tensors["b_dec"].shape[0], "transcoder": True}
        self.at(None, canonical_site(target))

    def _known(self, place: str) -> str:
        try:
            return canonical_site(place)
        except SiteError:
            self.done.append(f"{place} is kept as it is: no site that saelab can read or write")
            return place


def fold_decoder_norms(found: Found) -> None:
    """Rows of W_dec to length 1, their lengths into the encoder: activations are those times the length."""
    t = found.tensors
    norms = t["W_dec"].norm(dim=1).clamp_min(1e-8)
    t["W_dec"] = t["W_dec"] / norms.unsqueeze(1)
    t["W_enc"], t["b_enc"] = t["W_enc"] * norms, t["b_enc"] * norms
    found.done.append("lengths of W_dec's rows moved into the encoder")


def fold_scale(found: Found, s: float) -> None:
    """Trained on s x: W_enc s, W_dec / s, b_dec / s. Activations stay in units of s x."""
    t = found.tensors
    t["W_enc"] = t["W_enc"] * s
    t["W_dec"], t["b_dec"] = t["W_dec"] / s, t["b_dec"] / s
    found.done.append(f"input scale {s:.6g} moved into the weights; activations stay in scaled units")


def fold_whitening(
    found: Found, mean: Float[Tensor, "d"], M: Float[Tensor, "d d"], inverse: Float[Tensor, "d d"]
) -> None:
    """Trained on (x - mean) M: W_enc <- M W_enc, W_dec <- W_dec M^-1, b_dec <- b_dec M^-1 + mean."""
    t = found.tensors
    t["W_enc"] = M @ t["W_enc"]
    t["W_dec"], t["b_dec"] = t["W_dec"] @ inverse, t["b_dec"] @ inverse + mean
    if not found.settings["apply_b_dec_to_input"]:
        shift = mean @ t["W_enc"]
        t["b_enc"] = t["b_enc"] - shift
        if "b_mag" in t:
            t["b_mag"] = t["b_mag"] - shift * t["r_mag"].exp()
    found.done.append("whitening of the input moved into the weights")


def without_centre(t: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same encoder for rows that b_dec is not taken off: b_enc - b_dec W_enc. Summed in fp64."""
    shift = t["b_dec"].double() @ t["W_enc"].double()
    moved = {"b_enc": (t["b_enc"].double() - shift).float()}
    if "b_mag" in t:
        moved["b_mag"] = (t["b_mag"].double() - shift * t["r_mag"].double().exp()).float()
    return t | moved


def with_centre(t: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same encoder for rows that b_dec is taken off: b_enc + b_dec W_enc."""
    turned = without_centre(t | {"b_dec": -t["b_dec"]})
    return turned | {"b_dec": t["b_dec"]}


def note_dtypes(found: Found, dtypes: set[str]) -> None:
    """Say what fp32 was made of."""
    if others := sorted(dtypes - {"F32"}):
        found.done.append(f"{', '.join(others)} read as F32")
