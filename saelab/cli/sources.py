"""Join a training config to where its rows come from: a store, a language model as it runs, or a bed."""

from saelab.train import RowSource, TrainConfig


def row_source(cfg: TrainConfig) -> RowSource | None:
    """The source that `source` asks for; None for a store, which the trainer opens itself."""
    if cfg.source == "store":
        return None
    if cfg.source == "synthetic":
        from saelab.synthetic import SyntheticRows, bed

        return SyntheticRows(bed(cfg.synthetic))
    from saelab.config import settings
    from saelab.harvest import HarvestConfig
    from saelab.harvest.contexts import LiveContexts
    from saelab.harvest.live import LiveRows
    from saelab.harvest.sequences import LiveSequences
    from saelab.train.end_to_end import wants_model
    from saelab.train.sequences import wants_sequences

    rows = LiveContexts if wants_model(cfg) else LiveSequences if wants_sequences(cfg) else LiveRows
    return rows(settings(HarvestConfig, cfg.live, where="live"))
