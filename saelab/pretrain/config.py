"""Settings of `saelab pretrain`."""

from pathlib import Path

from pydantic import Field

from saelab.config import Settings
from saelab.corpora import CorpusConfig
from saelab.corpora.python_stdlib import PythonStdlibConfig


class ModelConfig(Settings):
    n_layer: int = Field(4, gt=0, description="Transformer blocks.")
    n_embd: int = Field(256, gt=0, description="Width of the residual stream (d_model).")
    n_head: int = Field(4, gt=0, description="Attention heads; divides n_embd.")
    n_positions: int = Field(256, gt=1, description="Context, in tokens, the beginning-of-sequence token included.")


class OptimiserConfig(Settings):
    tokens: int = Field(26_000_000, gt=0, description="Training tokens, counted over all passes of the corpus.")
    batch: int = Field(16, gt=0, description="Contexts per step.")
    lr: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    warmup: int = Field(200, ge=0, description="Steps of linear warm-up; a cosine to a twentieth follows.")
    weight_decay: float = Field(0.1, ge=0, description="Of matrices only.")
    beta2: float = Field(0.99, gt=0, lt=1, description="AdamW's second beta; the first is 0.9.")
    clip: float = Field(1.0, gt=0, description="Global gradient norm.")
    seed: int = Field(0, description="Of the weights and of the order of the data.")


class PretrainConfig(Settings):
    corpus: CorpusConfig = PythonStdlibConfig()
    vocab_size: int = Field(4096, gt=257, description="Byte-level BPE tokens, the special one included.")
    model: ModelConfig = ModelConfig()
    train: OptimiserConfig = OptimiserConfig()
    save_minutes: float = Field(5.0, gt=0, description="Between two saves of the state that resuming needs.")
    out: Path = Field(Path("runs/pico"), description="Folder of the finished model, and of its state while it trains.")
