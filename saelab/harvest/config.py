"""What to harvest: which model reads which text, which of its activations are kept, and how many."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from saelab.config import Settings
from saelab.corpora import CorpusConfig, PythonStdlibConfig

LATER = ("gradients", "sequence_mode", "special_tokens")  # settings that the first stores did not have


class HarvestConfig(Settings):
    model: str = Field("pico", description="pico, smollm2, a Hugging Face id, a folder, or a .gguf file.")
    corpus: CorpusConfig = PythonStdlibConfig.model_validate({})
    sites: list[str] = Field(["resid_post.2"], min_length=1, description="Sites to keep; ranges as in resid_post.0-3.")
    tokens: int = Field(500_000, gt=0, description="Rows to keep for training.")
    heldout_tokens: int = Field(50_000, ge=0, description="Rows to keep of documents that are held out.")
    context: int | None = Field(None, ge=2, description="Tokens of a context, BOS included; None: the model's own.")
    packing: Literal["separate", "concat"] = Field("separate", description="Whether a context may cross documents.")
    sequence_mode: Literal["blocks", "fast"] = Field(
        "blocks",
        description="fast, for chat data: every document is one sample, cut off at `context` tokens and run by itself, "
        "so that its rows are the same bits whatever stands beside it. blocks: as `packing` cuts, `batch` at once.",
    )
    chat: bool = Field(
        False,
        description="Put each document into the model's chat template: a conversation turn by turn, a text as what a "
        "user says.",
    )
    special_tokens: bool = Field(
        False, description="Keep rows of a document's special tokens as well, such as those of the chat template."
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field("bfloat16", description="How activations are stored.")
    gradients: bool = Field(
        False,
        description="Keep beside each row the gradient in it of its context's summed cross-entropy, which gsae trains "
        "on: twice the bytes, and a backward pass for each forward pass.",
    )
    compute_dtype: Literal["float32", "bfloat16"] = Field("float32", description="What the model computes in.")
    batch: int = Field(8, gt=0, description="Contexts of a forward pass; of fast always one.")
    shard_rows: int = Field(65_536, gt=0, description="Rows of a shard, at most; a shard is written as a whole.")
    device: str = Field("auto", description="Where the model runs: auto, cpu, cuda.")
    out: Path = Field(Path("runs/pico/store"), description="Folder of the store.")

    def request(self) -> dict[str, object]:
        """What decides about the rows: all but where they go and where they are computed.

        What an older version did not have is left out where it is off, so that older stores answer it.
        """
        usual = {name: type(self).model_fields[name].default for name in LATER}
        absent = {name for name, value in usual.items() if getattr(self, name) == value}
        return self.model_dump(mode="json", exclude={"out", "device"} | absent)

    @property
    def cut(self) -> str:
        """How documents become contexts: a key of PACKINGS."""
        return "truncated" if self.sequence_mode == "fast" else self.packing

    @property
    def at_once(self) -> int:
        """Contexts of a forward pass."""
        return 1 if self.sequence_mode == "fast" else self.batch

    @model_validator(mode="after")
    def _alone(self) -> "HarvestConfig":
        if self.sequence_mode == "fast" and self.packing != "separate":
            raise ValueError(
                f"sequence_mode = 'fast' runs every document by itself, but packing = {self.packing!r} joins them; "
                "leave one of the two out"
            )
        return self
