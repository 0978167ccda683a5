"""saelab checkpoints, and what indexes know of their features, in other libraries' formats."""

from collections.abc import Sequence
from pathlib import Path

from saelab.contracts import Progress, Silent
from saelab.errors import FormatError
from saelab.features import Index
from saelab.interop.converted import Converted, ConvertedFeatures, Features, One, made_whole
from saelab.interop.feature_data import Source
from saelab.interop.feature_formats import FEATURE_FORMATS
from saelab.interop.formats import FORMATS
from saelab.sae import Replacement


def plain(format: str) -> str:
    """The name of a format as the registries have it."""
    return format.replace("-", "_")


def holds_features(format: str) -> bool:
    """Whether `format` holds what an index knows of features, rather than weights.

    Raises FormatError, naming what can be written, for a format that cannot.
    """
    name = plain(format)
    if name in FEATURE_FORMATS:
        return True
    if name in FORMATS and FORMATS[name].write is not None:
        return False
    writes = ", ".join(each for each, one in FORMATS.items() if one.write)
    known = f"saelab reads {format} but does not write it" if name in FORMATS else f"{format!r} is no format"
    raise FormatError(f"{known}. It writes weights as {writes}, and features as {', '.join(FEATURE_FORMATS)}.")


def export_features(
    indexes: Sequence[Index], out: Path, format: str, features: range | None = None, progress: Progress | None = None
) -> ConvertedFeatures:
    """Write what the indexes know of `features` (None: all) to the folder `out`. Raises FormatError."""
    if not holds_features(format):
        raise FormatError(f"{format} holds weights, not features: `export_saes` writes those.")
    chosen, bar = FEATURE_FORMATS[plain(format)], progress or Silent()
    _require_few(format, len(indexes), chosen.several, [n for n, each in FEATURE_FORMATS.items() if each.several])
    sources = [Source.of(index, features) for index in indexes]
    _require_apart([source.name for source in sources])
    bar.start("export", sum(len(source.features) for source in sources), "features")
    with made_whole(out) as folder:
        done = tuple(chosen.write(sources, folder, bar))
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return ConvertedFeatures(
        format,
        tuple(Features(each.name, each.index.site, each.features[0], each.features[-1]) for each in sources),
        out,
        written,
        done,
    )


def export_saes(checkpoints: Sequence[Path], out: Path, format: str) -> Converted:
    """Write checkpoints to the folder `out`. Raises FormatError for an SAE that the format cannot hold exactly."""
    if holds_features(format):
        raise FormatError(f"{format} holds features, not weights.\n  fix:   `export_features` writes those of an index")
    chosen = FORMATS[plain(format)]
    assert chosen.write is not None
    several = [name for name, each in FORMATS.items() if each.several and each.write]
    _require_few(format, len(checkpoints), chosen.several, several)
    names = [path.resolve().name for path in checkpoints]
    _require_apart(names)
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


def _require_few(format: str, number: int, several: bool, others: Sequence[str]) -> None:
    if number > 1 and not several:
        raise FormatError(
            f"a folder of {format} holds one SAE, and {number} were named; several go into {', '.join(others)}."
        )


def _require_apart(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise FormatError(f"two of the checkpoints have the same name: {', '.join(names)}.")
