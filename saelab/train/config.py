"""Settings of `saelab train`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from saelab.config import Settings


class EndToEndConfig(Settings):
    """What the model itself says of a reproduction; see saelab.train.end_to_end."""

    loss: Literal["kl", "ce"] = Field("kl", description="Against the model's own predictions, or against the text.")
    weight: float = Field(1.0, gt=0, description="Factor of that loss, which is in nats per token.")
    reconstruction: float = Field(0.0, ge=0, description="Factor that the variant's own reconstruction term is left.")
    downstream: list[str] = Field([], description="Sites of later layers whose activations are to stay as they were.")
    downstream_weight: float = Field(1.0, gt=0, description="Factor of their mean unexplained share of variance.")

    def __str__(self) -> str:
        """As it stands in a name."""
        return self.loss + ("-downstream" if self.downstream else "")


class OptimiserConfig(Settings):
    """How long and how fast; what is null is derived, and stands as derived in the checkpoint's train.yaml."""

    rows: int = Field(1_000_000, gt=0, description="Rows to train on, counted over all passes of the store.")
    batch: int = Field(2048, gt=0, description="Rows per step.")
    lr: float | None = Field(None, gt=0, description="Peak learning rate of Adam; null: from width and rows.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps with a linearly rising rate.")
    decay: float = Field(0.2, ge=0, le=1, description="Share of the steps, the last, with a rate falling to 0.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first beta.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam's second beta.")
    eps: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    clip: float | None = Field(None, gt=0, description="Largest global gradient norm; null: not clipped.")
    dead_after: int | None = Field(
        None, gt=0, description="Rows without firing after which a feature counts as dead; null: from rows."
    )
    seed: int = Field(0, ge=0, description="Of the weights and of whatever a step draws.")
    order_seed: int | None = Field(None, ge=0, description="Of the order of the rows; null: seed.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Factors of the encoder's product in training, sums are fp32; auto: bf16 on a GPU."
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    init: Literal["random", "active_subspace"] = Field(
        "random",
        description="Features at the start: any directions, or those within the subspace in which the rows vary, so "
        "that fewer are dead where that is small.",
    )
    subspace_rank: int | None = Field(
        None, gt=0, description="Dimensions of the active subspace; null: as few as hold 99 % of the variance."
    )
    init_b_dec: Literal["mean", "zero", "geometric_median"] = Field(
        "mean",
        description="b_dec at the start, as a row of the site: the mean, zero, or the geometric median, which outlying "
        "rows move less than the mean.",
    )
    anneal_k_from: int | None = Field(
        None, gt=0, description="Features kept per row at the first step, in variants that keep k; null: k."
    )
    anneal_share: float = Field(
        0.2, gt=0, le=1, description="Share of the steps, the first, in which anneal_k_from becomes k, linearly."
    )
    start_from: Path | None = Field(
        None,
        description="Checkpoint to begin with, of the same variant and widths; what `sae` leaves open is the "
        "checkpoint's. Optimiser and schedule begin anew.",
    )

    end_to_end: EndToEndConfig | None = Field(
        None,
        description="Train on what the model predicts with the SAE in place, instead of on the rows alone; needs "
        "source: live.",
    )

    @property
    def steps(self) -> int:
        """Steps that take in at least `rows` rows."""
        return -(-self.rows // self.batch)

    @model_validator(mode="after")
    def _shares_fit(self) -> "OptimiserConfig":
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are shares of the steps: together at most 1")
        return self

    @model_validator(mode="after")
    def _one_beginning(self) -> "OptimiserConfig":
        if self.subspace_rank is not None and self.init != "active_subspace":
            raise ValueError(
                f"subspace_rank = {self.subspace_rank}, but init = {self.init!r} has no subspace; "
                "set init to active_subspace, or leave subspace_rank out"
            )
        for name, usual in (("init", "random"), ("init_b_dec", "mean")):
            if self.start_from is not None and getattr(self, name) != usual:
                raise ValueError(
                    f"start_from = {self.start_from} brings the weights to begin with, but {name} = "
                    f"{getattr(self, name)!r} would make others; leave one of the two out"
                )
        return self


class LayerGroupsConfig(Settings):
    """How layers are put together, one SAE for each group of them."""

    count: int | None = Field(None, gt=0, description="How many groups.")
    amad: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The fewest groups whose mean largest angular distance (0 to 1) is below this.",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> "LayerGroupsConfig":
        if (self.count is None) == (self.amad is None):
            raise ValueError(f"count = {self.count} and amad = {self.amad}: set one of the two")
        return self


# What all SAEs of one pass must have in common, because they see the same batches.
SHARED = ("batch", "order_seed", "device")


class TrainConfig(Settings):
    """Rows in, checkpoints out. Every SAE of the list sees the same batches."""

    source: Literal["store", "live", "synthetic"] = Field(
        "store", description="Harvested rows, a language model as it runs, or rows with known features."
    )
    store: Path | None = Field(None, description="The activation store.")
    live: dict[str, Any] = Field({}, description="With source: live, the settings of `saelab harvest` but `out`.")
    synthetic: dict[str, Any] = Field({}, description="With source: synthetic, `bed` and the bed's settings.")
    site: str | list[str] | None = Field(
        None, description="Where the rows come from; null: the only site there is. A list: all of them, a crosscoder."
    )
    target: str | list[str] | None = Field(
        None, description="The site to predict, or a list of them: a transcoder. null: an autoencoder."
    )
    sae: dict[str, Any] | list[dict[str, Any]] = Field(
        ...,
        description="Variant, d_sae and the variant's settings; or a list. An entry may hold `name`, and under "
        "`train` settings of the optimiser that are its own.",
    )
    layer_groups: LayerGroupsConfig | None = Field(
        None, description="With several sites: one SAE for each group of alike layers, on the rows of all of them."
    )
    train: OptimiserConfig = OptimiserConfig.model_validate({})
    eval_every: int = Field(250_000, ge=0, description="Rows between two looks at held-out rows; 0: at the end only.")
    keep: int = Field(
        0,
        ge=0,
        description="Keep a checkpoint at every so many looks at held-out rows, as NAME.step-N beside the last one; "
        "0: the last alone.",
    )
    heldout_rows: int = Field(8192, gt=0, description="Held-out rows looked at.")
    log_every: int = Field(10, gt=0, description="Steps between two lines of metrics.jsonl.")
    save_minutes: float = Field(5.0, ge=0, description="Between two saves of the state that resuming needs.")
    out: Path | None = Field(None, description="Folder of the checkpoints; null: `sae` beside the store.")
    name: str | None = Field(None, description="Folder of the checkpoint in `out`; null: from variant and size.")

    @model_validator(mode="after")
    def _keeps_at_looks(self) -> "TrainConfig":
        if self.keep and not self.eval_every:
            raise ValueError(f"keep = {self.keep} counts looks at held-out rows, but eval_every = 0 takes none")
        return self
