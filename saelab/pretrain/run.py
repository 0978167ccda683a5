"""`saelab pretrain`: from text to a language model in Hugging Face layout."""

import math
import platform
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from saelab.atomic import write_json
from saelab.config import write_yaml
from saelab.contracts import Progress, Silent
from saelab.corpora import open_corpus
from saelab.corpora.document import Document
from saelab.errors import CorpusError
from saelab.pretrain.bits_per_byte import bits_per_byte, xz_bits_per_byte
from saelab.pretrain.config import PretrainConfig
from saelab.pretrain.loop import Training
from saelab.pretrain.tokenizer import train_tokenizer


@dataclass(frozen=True)
class Pretrained:
    """What came out: the figures that stand beside the weights in training.json."""

    parameters: int
    steps: int
    tokens: int
    train_documents: int
    heldout_documents: int
    heldout_bytes: int
    heldout_bits_per_byte: float
    heldout_xz_bits_per_byte: float
    bytes_per_token: float
    python: str
    torch: str


def pretrain(cfg: PretrainConfig, progress: Progress | None = None) -> Pretrained:
    """Train the tokenizer and the model that `cfg` describes; go on where an earlier call stopped.

    Whole documents are held out (`Document.heldout`). Raises CorpusError when nothing is left to train on or to
    measure with.
    """
    progress = progress or Silent()
    documents = list(open_corpus(cfg.corpus).documents())
    train = [d for d in documents if not d.heldout]
    heldout = [d for d in documents if d.heldout]
    if not train or not heldout:
        raise CorpusError(
            f"the corpus has {len(train)} documents to train on and {len(heldout)} held out; both are needed. "
            "One in twenty is held out, by a hash: give more documents."
        )
    cfg.out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(cfg, train)
    bos = int(tokenizer.bos_token_id)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Training(cfg, [_tokens(tokenizer, d) for d in train], bos, device)
    progress.note(f"{len(train)} documents to train on, {len(heldout)} held out; {training.steps} steps on {device}")
    _train(training, progress)
    progress.note("measuring on the held-out documents")
    result = _measure(cfg, training, tokenizer, train, heldout)
    _export(cfg, training, tokenizer, result)
    return result


def _tokenizer(cfg: PretrainConfig, train: list[Document]) -> PreTrainedTokenizerFast:
    if not (cfg.out / "tokenizer.json").is_file():
        trained = train_tokenizer((d.text for d in train), cfg.vocab_size, cfg.model.n_positions)
        trained.save_pretrained(cfg.out)
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(cfg.out)  # type: ignore[assignment]
    return loaded


def _tokens(tokenizer: PreTrainedTokenizerFast, document: Document) -> Tensor:
    """The document's tokens and the token that ends it, [tokens]."""
    ids = tokenizer.backend_tokenizer.encode(document.text, add_special_tokens=False).ids
    return torch.tensor([*ids, int(tokenizer.eos_token_id)])


def _train(training: Training, progress: Progress) -> None:
    training.resume()
    rows = training.cfg.train.batch * training.cfg.model.n_positions
    progress.start("pretrain", (training.steps - training.step) * rows, "tokens")
    smooth = math.nan
    for loss in training.run():
        smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
        progress.advance(rows, loss=smooth)


def _measure(
    cfg: PretrainConfig,
    training: Training,
    tokenizer: PreTrainedTokenizerFast,
    train: list[Document],
    heldout: list[Document],
) -> Pretrained:
    """Held-out figures of the weights as they are shipped, that is rounded to half precision."""
    model = training.model.half().float().eval()
    tokens = [_tokens(tokenizer, d)[:-1] for d in heldout]
    bos = int(tokenizer.bos_token_id)
    return Pretrained(
        parameters=sum(p.numel() for p in model.parameters()),
        steps=training.steps,
        tokens=training.steps * cfg.train.batch * cfg.model.n_positions,
        train_documents=len(train),
        heldout_documents=len(heldout),
        heldout_bytes=_bytes(heldout),
        heldout_bits_per_byte=bits_per_byte(model, tokens, _bytes(heldout), bos, cfg.model.n_positions),
        heldout_xz_bits_per_byte=xz_bits_per_byte([d.text for d in heldout]),
        bytes_per_token=_bytes(heldout) / sum(map(len, tokens)),
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _bytes(documents: list[Document]) -> int:
    return sum(len(d.text.encode()) for d in documents)


def _export(cfg: PretrainConfig, training: Training, tokenizer: PreTrainedTokenizerFast, result: Pretrained) -> None:
    training.model.half().save_pretrained(cfg.out)
    tokenizer.save_pretrained(cfg.out)
    write_yaml(cfg.out / "recipe.yaml", cfg)
    write_json(cfg.out / "training.json", asdict(result))
