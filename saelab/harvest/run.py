"""text -> language model -> store: several sites in one pass, shard by shard, safe to stop at any moment."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from torch import Tensor

from saelab.atomic import require_free
from saelab.contracts import Progress, Silent
from saelab.corpora import Corpus, open_corpus
from saelab.errors import ConfigError, CorpusError
from saelab.harvest.config import HarvestConfig
from saelab.harvest.cost import estimate, load_model, site_widths
from saelab.harvest.forward import shard_activations
from saelab.harvest.plan import ShardPlan, SplitPlan, context_length
from saelab.lm import LanguageModel
from saelab.process import stay_on_one_core
from saelab.store import Store, StoreWriter
from saelab.store.ahead import ahead
from saelab.store.layout import DTYPES, SPLITS


def harvest(cfg: HarvestConfig, progress: Progress | None = None, lm: LanguageModel | None = None) -> Store:
    """Harvest what `cfg` asks for into cfg.out, or only what is missing of it.

    A finished store of the same request is returned at once; one of another request raises StoreMismatch.
    Killed at any moment and called again, it ends with the same bits as if it had not been disturbed.
    """
    return Harvest(cfg, progress or Silent(), lm or load_model(cfg)).run()


class Harvest:
    """One call of `harvest`."""

    def __init__(self, cfg: HarvestConfig, progress: Progress, lm: LanguageModel) -> None:
        self.cfg = cfg
        self.progress = progress
        self.lm = lm
        if lm.dtype != DTYPES[cfg.compute_dtype]:
            raise ConfigError(f"compute_dtype is {cfg.compute_dtype}, but {lm.name} was loaded in {lm.dtype}.")
        self.widths = site_widths(cfg, lm)
        self.corpus: Corpus = open_corpus(cfg.corpus)

    def run(self) -> Store:
        """Make what is missing, and open the store."""
        with self.begin() as writer:
            if writer.complete():
                self.progress.note(f"{self.cfg.out} holds this harvest already")
                return Store.open(self.cfg.out)
            self._announce(writer.bytes_done())
            self.fill(writer)
            return writer.finish()

    def begin(self) -> StoreWriter:
        """Claim the folder for this request. Raises StoreMismatch when it holds another's rows."""
        lm = self.lm
        return StoreWriter.begin(
            self.cfg.out,
            config={**self.cfg.request(), "context": context_length(self.cfg, lm), "sites": list(self.widths)},
            model={
                "name": lm.name,
                "fingerprint": lm.fingerprint,
                "n_layers": lm.n_layers,
                "d_model": lm.d_model,
                "n_vocab": lm.n_vocab,
                "context": lm.context,
                "bos": lm.bos,
            },
            corpus={"fingerprint": self.corpus.fingerprint(), "licence": self.corpus.licence},
            sites=self.widths,
            dtype=self.cfg.dtype,
            gradients=self.cfg.gradients,
        )

    def _announce(self, done: int) -> None:
        cost = estimate(self.cfg, self.lm)
        self.progress.note(f"harvest of {', '.join(self.widths)}: {cost}")
        if done:
            self.progress.note(f"{done / 1e6:.0f} MB of it are there from an earlier call")
        require_free(self.cfg.out, max(0, cost.bytes - done))

    def fill(self, writer: StoreWriter) -> None:
        """Write every shard that is not finished."""
        for split in SPLITS:
            self._split(writer, split)

    def _split(self, writer: StoreWriter, split: str) -> None:
        """Every shard of one split: planned ahead in one thread, computed in this one, written in a third."""
        plan = SplitPlan(self.corpus, split, self.lm, self.cfg)
        wanted = self.cfg.tokens if split == "train" else self.cfg.heldout_tokens
        self.progress.start(f"harvest {split}", wanted, "tokens")
        written: Future[None] | None = None
        last: ShardPlan | None = None
        with (
            ThreadPoolExecutor(1, initializer=stay_on_one_core) as background,
            closing(ahead(plan.shards(), 1)) as shards,
        ):
            for last in shards:
                if not writer.done(split, last.number):
                    acts = self._compute(last)
                    if written:
                        written.result()  # one shard waits in memory at most; an error ends the harvest here
                    written = background.submit(writer.write_shard, split, last.number, last.columns, acts)
                self.progress.advance(last.rows)
        if written:
            written.result()
        if last is not None:
            writer.write_documents(split, plan.documents(last))
        self._note_end(split, wanted, 0 if last is None else last.columns.first_row + last.rows)

    def _compute(self, plan: ShardPlan) -> dict[str, Tensor]:
        cfg = self.cfg
        return shard_activations(self.lm, plan, list(self.widths), cfg.at_once, cfg.dtype, cfg.gradients)

    def _note_end(self, split: str, wanted: int, rows: int) -> None:
        if split == "train" and rows == 0:
            raise CorpusError(
                f"the corpus has no {split} text: every document is held out, empty, or shorter than two tokens.\n"
                f"  fix:   more documents (one in twenty is held out, by a hash)"
            )
        if rows < wanted:
            self.progress.note(f"the corpus ends after {rows:,} of the {wanted:,} {split} tokens asked for")
