"""Every mistake a person can put right is a SaelabError: one clear message, exit code 2, no traceback."""


class SaelabError(Exception):
    """Something the user can mend. The message says what, both values, where from, and the way out."""


class ConfigError(SaelabError):
    """A setting that does not exist, has the wrong type, or contradicts another."""


class CorpusError(SaelabError):
    """Text that is missing, empty, not UTF-8, or not where it was said to be."""


class ModelError(SaelabError):
    """A language model that cannot be found or loaded."""


class SiteError(SaelabError):
    """A site the model does not have."""


class StoreError(SaelabError):
    """An activation store that is missing, unfinished or damaged."""


class StoreMismatch(StoreError):
    """A store that was made from something else than what is asked of it."""


class CheckpointError(SaelabError):
    """An SAE checkpoint that is missing, unfinished, damaged or of another kind."""


class FeatureIndexError(SaelabError):
    """A feature index that is missing, stale or damaged, or a feature it does not have."""


class DiskFull(SaelabError):
    """Not enough room for what is about to be written."""


class TrainError(SaelabError):
    """Training that cannot go on: rows that are no numbers, too little memory."""


class Diverged(TrainError):
    """One SAE whose loss or weights are no longer numbers; others of the same pass go on."""


class Interrupted(SaelabError):
    """Work stopped by a signal after everything was saved; `exit_code` is what a shell expects (130, 143)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InterventionError(SaelabError):
    """A steering or ablation that makes no sense: a feature the SAE lacks, a strength that is no number."""


class EvalError(SaelabError):
    """An evaluation that cannot be made on this text, store or checkpoint."""


class FormatError(SaelabError):
    """A file of another library that is missing, damaged or unclear, or an SAE that its format cannot hold."""


class EvalSkipped(EvalError):
    """An evaluation that this checkpoint, model or text cannot be asked; `saelab eval --all` says so and goes on."""
