"""What every stage of a build needs to know."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from saelab.config import content_hash
from saelab.contracts import Codes, Progress
from saelab.errors import FeatureIndexError, StoreMismatch
from saelab.features.config import IndexConfig
from saelab.features.layout import Layout
from saelab.features.origin import FORMAT, relative, settings_of, weights_hash
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.sae.sites import Part, Sites, sites_read, sites_written
from saelab.store import Store


@dataclass(frozen=True, eq=False)
class Job:
    """One index to build: from which SAE, over which rows, with which language model (or none), where, and how."""

    sae: SAE
    checkpoint: Path
    store: Store
    lm: LanguageModel | None
    root: Path
    cfg: IndexConfig
    progress: Progress

    @cached_property
    def read(self) -> Sites:
        """The site the SAE reads; of a crosscoder, all of them. Without a name, the only one the store has."""
        d_in = self.sae.cfg.d_in
        if not self.sae.metadata.get("hook_name"):
            return Sites((Part(self.store.require_site(None), d_in),))
        stated = sites_read(self.sae.metadata, d_in)
        return Sites(tuple(replace(part, name=self.store.require_site(part.name)) for part in stated.parts))

    @cached_property
    def written(self) -> Sites:
        """What the SAE writes: another site than it reads for a transcoder."""
        cfg = self.sae.cfg
        return sites_written({"hook_name": self.read.names[0], **self.sae.metadata}, cfg.d_in, cfg.width_out)

    @property
    def site(self) -> str:
        """The name of what is read."""
        return self.read.label

    @property
    def site_out(self) -> str:
        """The name of what is written."""
        return self.written.label

    def rows(self, start: int, stop: int) -> Float[Tensor, "rows d_in"]:
        """Rows of the split as the SAE reads them."""
        return self.read.join({name: self.store.read(name, self.cfg.split, start, stop) for name in self.read.names})

    def codes(self, start: int, stop: int) -> Codes:
        """What fires on rows start to stop."""
        rows = self.rows(start, stop).to(self.sae.W_enc.device, torch.float32)
        return self.sae.encode_sparse(rows)

    @property
    def n_features(self) -> int:
        return int(self.sae.cfg.d_sae)

    @cached_property
    def n_tokens(self) -> int:
        return self.store.rows(self.cfg.split)

    @property
    def n_parts(self) -> int:
        return -(-self.n_tokens // self.cfg.part_rows)

    @cached_property
    def request(self) -> dict[str, Any]:
        """All that decides the parts' bytes."""
        return {
            "format": FORMAT,
            "checkpoint": relative(self.checkpoint, self.root),
            "weights": weights_hash(self.checkpoint),
            "sae": settings_of(self.checkpoint),
            "store": self.store.hash,
            "model": {key: self.store.model.get(key) for key in ("name", "fingerprint")},
            "site": self.site,
            "site_out": self.site_out,
            "tokens": self.n_tokens,
            "features": self.n_features,
            "language_model": self.lm.fingerprint if self.lm else None,
            "settings": self.cfg.model_dump(mode="json"),
        }

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.root, content_hash(self.request))

    @cached_property
    def tokens(self) -> pa.Table:
        """doc, pos, ctx and token of every row."""
        return self.store.tokens(self.cfg.split)

    @cached_property
    def contexts(self) -> "Contexts":
        return Contexts.of(self.tokens["ctx"].to_numpy())

    def check(self) -> None:
        """Raise when SAE, store and language model do not belong together."""
        if self.n_tokens == 0:
            raise FeatureIndexError(f"{self.store.path} holds no rows of {self.cfg.split!r} to index.")
        d_store, d_in = sum(map(self.store.d, self.read.names)), int(self.sae.cfg.d_in)
        if d_store != d_in:
            raise StoreMismatch(
                f"{self.store.path} holds rows of width {d_store} at {self.site}, but {self.checkpoint} reads {d_in}.\n"
                "  fix:   name the store this SAE was trained on with --store"
            )
        known = self.store.model.get("fingerprint")
        if self.lm and known and self.lm.fingerprint != known:
            raise StoreMismatch(
                f"{self.store.path} was harvested from another language model than the one given.\n"
                f"  store: {self.store.model.get('name')}, fingerprint {known}\n"
                f"  given: {self.lm.name}, fingerprint {self.lm.fingerprint}\n"
                "  fix:   give the store's model, or index without one (--no-model)"
            )


@dataclass(frozen=True, eq=False)
class Contexts:
    """Context c holds rows starts[c] to starts[c + 1]; row r lies in context of_row[r]."""

    starts: np.ndarray
    of_row: np.ndarray

    @classmethod
    def of(cls, ctx: np.ndarray) -> "Contexts":
        """From the store's column, in which the rows of a context stand together."""
        new = np.ones(len(ctx), dtype=bool)
        new[1:] = ctx[1:] != ctx[:-1]
        starts = np.append(np.flatnonzero(new), len(ctx)).astype(np.int64)
        return cls(starts, np.cumsum(new, dtype=np.int32) - np.int32(1))
