"""Settings of `saelab train`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from saelab.config import Settings


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

    @property
    def steps(self) -> int:
        """Steps that take in at least `rows` rows."""
        return -(-self.rows // self.batch)

    @model_validator(mode="after")
    def _shares_fit(self) -> "OptimiserConfig":
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are shares of the steps: together at most 1")
        return self


# What all SAEs of one pass must have in common, because they see the same batches.
SHARED = ("batch", "order_seed", "device")


class TrainConfig(Settings):
    """Rows in, checkpoints out. Every SAE of the list sees the same batches."""

    source: Literal["store", "live"] = Field("store", description="Harvested rows, or a language model as it runs.")
    store: Path | None = Field(None, description="The activation store.")
    live: dict[str, Any] = Field({}, description="With source: live, the settings of `saelab harvest` but `out`.")
    site: str | None = Field(None, description="Where the rows come from; null: the only site there is.")
    target: str | None = Field(None, description="The site to predict: a transcoder. null: an autoencoder.")
    sae: dict[str, Any] | list[dict[str, Any]] = Field(
        ...,
        description="Variant, d_sae and the variant's settings; or a list. An entry may hold `name`, and under "
        "`train` settings of the optimiser that are its own.",
    )
    train: OptimiserConfig = OptimiserConfig.model_validate({})
    eval_every: int = Field(250_000, ge=0, description="Rows between two looks at held-out rows; 0: at the end only.")
    heldout_rows: int = Field(8192, gt=0, description="Held-out rows looked at.")
    log_every: int = Field(10, gt=0, description="Steps between two lines of metrics.jsonl.")
    save_minutes: float = Field(5.0, ge=0, description="Between two saves of the state that resuming needs.")
    out: Path | None = Field(None, description="Folder of the checkpoints; null: `sae` beside the store.")
    name: str | None = Field(None, description="Folder of the checkpoint in `out`; null: from variant and size.")
