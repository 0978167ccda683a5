"""Going on from a trained SAE: its settings where the new run leaves them open, its weights in the new run's units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saelab.errors import CheckpointError
from saelab.sae import SAE
from saelab.train.normalise import Normalisation

SHAPE = ("variant", "d_in", "d_sae", "d_out", "transcoder", "skip", "apply_b_dec_to_input")  # what cannot change
WIDTHS = ("d_in", "d_out", "transcoder")  # follow from the rows


def continued(own: Mapping[str, Any], path: Path, widths: Mapping[str, Any]) -> dict[str, Any]:
    """`own` settings of an SAE, those it leaves open as the checkpoint at `path` has them.

    `widths` are those of the rows. Raises CheckpointError when the checkpoint is of another kind or of other widths.
    """
    cfg = SAE.load(path).cfg
    there = {**cfg.model_dump(mode="json"), "d_out": cfg.width_out}
    wanted = {**{key: own[key] for key in SHAPE if own.get(key) is not None}, **widths}
    differ = [key for key in SHAPE if key in wanted and wanted[key] != there[key]]
    if differ:
        lines = "".join(f"  {key}: {there[key]!r} there, {wanted[key]!r} here\n" for key in differ)
        raise CheckpointError(
            f"train.start_from: {path} is another SAE than this one would be:\n{lines}"
            "  fix:   leave these settings of sae out, name a checkpoint for these rows, or train without start_from"
        )
    return {**{key: value for key, value in there.items() if key not in WIDTHS}, **own}


def unfolded(path: Path, normalisation: Normalisation, device: str) -> SAE:
    """The checkpoint at `path` as it reads and writes normalised rows: what `SAE.fold` turns into it again.

    x' = (x - c) s is what x = (x' + c s) / s undoes, which is a normalisation as well.
    """
    n = normalisation
    back = Normalisation(
        -n.centre * n.scale, 1 / n.scale, -n.target_centre * n.target_scale, 1 / n.target_scale
    )  # fmt: skip
    return SAE.load(path, device).fold(back)
