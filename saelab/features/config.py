"""How a feature index is built: what is kept for each feature's page, and how the work is cut into parts."""

from pydantic import Field, model_validator

from saelab.config import Settings


class IndexConfig(Settings):
    """Everything besides the checkpoint, the store and the language model that decides what an index holds."""

    split: str = Field(default="train", description="Rows of the store to encode.")
    top: int = Field(default=20, gt=0, description="Strongest examples kept per feature, one per context.")
    quantiles: int = Field(
        default=10, gt=0, le=100, description="Equal-count groups of a feature's contexts that are sampled."
    )
    per_quantile: int = Field(default=5, ge=0, description="Examples sampled from each of these groups.")
    before: int = Field(default=16, ge=0, le=127, description="Tokens shown before an example's peak.")
    after: int = Field(default=8, ge=0, le=127, description="Tokens shown after an example's peak.")
    effects: int = Field(default=20, gt=0, description="Promoted, and suppressed, tokens kept per feature.")
    neighbours: int = Field(default=20, gt=0, description="Nearest decoder rows kept per feature.")
    coactive: int = Field(default=20, gt=0, description="Features kept that fire together with a feature.")
    coactive_tokens: int = Field(
        default=32_768, gt=0, description="Tokens sampled to count which features fire together."
    )
    min_together: int = Field(default=3, gt=0, description="Sampled tokens two features must share to be listed.")
    chunk_rows: int = Field(default=4096, gt=0, description="Rows encoded at once.")
    part_rows: int = Field(default=65_536, gt=0, description="Rows per by-token file, a multiple of chunk_rows.")
    bucket_rows: int = Field(default=4_000_000, gt=0, description="Activations per by-feature file, about.")

    @model_validator(mode="after")
    def _parts_hold_whole_chunks(self) -> "IndexConfig":
        if self.part_rows % self.chunk_rows:
            raise ValueError(f"part_rows {self.part_rows} is no multiple of chunk_rows {self.chunk_rows}")
        return self
