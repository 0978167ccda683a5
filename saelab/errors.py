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
