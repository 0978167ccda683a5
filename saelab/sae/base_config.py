"""What every variant is asked."""

from typing import Any

from pydantic import Field, model_validator

from saelab.config import Settings


class SAEConfig(Settings):
    """Base of every variant's settings."""

    variant: str
    d_in: int = Field(gt=0, description="Width of the rows that are read.")
    d_sae: int = Field(gt=0, description="Number of features.")
    d_out: int | None = Field(None, gt=0, description="Width of what is reproduced, for a transcoder; null: d_in.")
    transcoder: bool = Field(False, description="Reproduces another site than it reads; on when d_out is given.")
    apply_b_dec_to_input: bool = Field(True, description="Subtract b_dec from what is read; off for a transcoder.")
    skip: bool = Field(False, description="Add a linear map of the input, W_skip, to a transcoder's output.")

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        transcoder = values.get("transcoder", values.get("d_out") is not None)
        return {"transcoder": transcoder, "apply_b_dec_to_input": not transcoder, **values}

    @model_validator(mode="after")
    def _consistent(self) -> "SAEConfig":
        if self.transcoder and self.apply_b_dec_to_input:
            raise ValueError("a transcoder's b_dec belongs to what it writes; set apply_b_dec_to_input to false")
        if not self.transcoder and (self.skip or self.width_out != self.d_in):
            raise ValueError("a skip connection, or a d_out other than d_in, needs transcoder: true")
        return self

    @property
    def width_out(self) -> int:
        """Width of what is reproduced."""
        return self.d_in if self.d_out is None else self.d_out

    @property
    def active(self) -> int | float | None:
        """Active features per row that the settings ask for; None where they state no number."""
        return getattr(self, "k", None) or getattr(self, "target_l0", None)

    @property
    def wants_gradient(self) -> bool:
        """Whether training needs `Batch.gradient`."""
        return False
