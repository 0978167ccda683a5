"""saelab checkpoints in other libraries' formats."""

from collections.abc import Sequence
from pathlib import Path

from saelab.errors import FormatError
from saelab.interop.converted import Converted, One, made_whole
from saelab.interop.formats import FORMATS
from saelab.interop.importing import format_named
from saelab.sae import Replacement


def export_saes(checkpoints: Sequence[Path], out: Path, format: str) -> Converted:
    """Write checkpoints to the folder `out`. Raises FormatError for an SAE that the format cannot hold exactly."""
    chosen = format_named(format)
    if chosen.write is None:
        writes = ", ".join(name for name, each in FORMATS.items() if each.write)
        raise FormatError(f"saelab reads {format} but does not write it. It writes: {writes}.")
    if len(checkpoints) > 1 and not chosen.several:
        several = ", ".join(name for name, each in FORMATS.items() if each.several and each.write)
        raise FormatError(
            f"a folder of {format} holds one SAE, and {len(checkpoints)} were named; several go into {several}."
        )
    names = [path.resolve().name for path in checkpoints]
    if len(set(names)) < len(names):
        raise FormatError(f"two of the checkpoints have the same name: {', '.join(names)}.")
    saes = {name: Replacement.load(path) for name, path in zip(names, checkpoints, strict=True)}
    with made_whole(out) as folder:
        done = tuple(chosen.write(saes, folder))
    return Converted(
        format,
        tuple(
            One(name, out, sae.cfg.variant, sae.cfg.d_in, sae.cfg.width_out, sae.cfg.d_sae, done)
            for name, sae in saes.items()
        ),
    )
