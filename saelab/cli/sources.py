"""Join a training config to where its rows come from: a store, or a language model as it runs."""

from saelab.train import RowSource, TrainConfig


def row_source(cfg: TrainConfig) -> RowSource | None:
    """The live source that `source: live` asks for; None for a store, which the trainer opens itself."""
    if cfg.source == "store":
        return None
    from saelab.config import settings
    from saelab.harvest import HarvestConfig
    from saelab.harvest.live import LiveRows

    return LiveRows(settings(HarvestConfig, cfg.live, where="live"))
