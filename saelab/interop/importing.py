"""Other libraries' SAEs as saelab checkpoints."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from saelab.contracts import NAME, Progress, Silent, canonical_site
from saelab.errors import FormatError
from saelab.interop.converted import Converted, One, made_whole
from saelab.interop.files import digest
from saelab.interop.format import Format
from saelab.interop.formats import FORMATS
from saelab.interop.found import Found
from saelab.sae.sites import READ


def format_named(name: str) -> Format:
    """A format by name. Raises FormatError listing what there is."""
    if name not in FORMATS:
        raise FormatError(f"{name!r} is no format. There are: {', '.join(FORMATS)}.")
    return FORMATS[name]


def detected(path: Path) -> str:
    """The name of the one format that `path` is of. Raises FormatError for none, and for more than one."""
    if not path.exists():
        raise FormatError(f"{path}: there is no such file or folder.")
    names = [name for name, each in FORMATS.items() if each.detect(path)]
    if len(names) == 1:
        return names[0]
    if names:
        raise FormatError(f"{path} could be of {' or '.join(names)}.\n  fix:   say which with --format NAME")
    looked = "\n".join(f"  {name}: {each.looks_for}" for name, each in FORMATS.items())
    raise FormatError(f"{path} is of no format that saelab reads. What was looked for:\n{looked}")


def import_saes(
    path: Path,
    out: Path,
    format: str | None = None,
    model: str | None = None,
    site: str | None = None,
    target: str | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Write the SAE at `path` as the checkpoint `out`, or several as out/<name> each. Raises FormatError.

    `model`, `site` and `target` say what the files do not: whose activations the SAE reads, where, and what a
    transcoder reproduces.
    """
    bar = progress or Silent()
    name = format or detected(path)
    if not path.exists():
        raise FormatError(f"{path}: there is no such file or folder.")
    saes = format_named(name).read(path)
    if not saes:
        raise FormatError(f"{path} holds no SAE of {name}: {FORMATS[name].looks_for} was looked for.")
    _check_names(saes, path)
    bar.start("import", len(saes), "SAEs")
    written = []
    with made_whole(out) as tmp:
        for found in saes:
            _complete(found, model, site, target)
            written.append(_write(found, tmp, path, name))
            bar.advance(1)
    return Converted(name, tuple(replace(one, folder=out / one.folder.relative_to(tmp)) for one in written))


def _check_names(saes: list[Found], path: Path) -> None:
    """Folders of their own, of legal names, where there are several."""
    if len(saes) == 1:
        saes[0].name = ""
        return
    for name, count in Counter(found.name for found in saes).items():
        if count > 1 or not NAME.fullmatch(name):
            raise FormatError(
                f"{path} holds an SAE called {name!r}{' twice' if count > 1 else ''}, which is no name for a folder.\n"
                "  fix:   import it by its own path"
            )


def _complete(found: Found, model: str | None, site: str | None, target: str | None) -> None:
    """Fill in what the caller knows, and name what is still missing."""
    if model is not None:
        found.metadata["model_name"] = model
    if site is not None:
        found.at(canonical_site(site))
    if target is not None:
        found.reproduce(target)
    for keys, option in ((("model_name",), "--model"), (("hook_name", READ), "--site")):
        if not any(key in found.metadata for key in keys):
            found.done.append(f"{keys[0]} is not in the files; index, eval and steer need it: import with {option}")


def _write(found: Found, tmp: Path, path: Path, name: str) -> One:
    sae, folder = found.sae(), tmp / found.name if found.name else tmp
    source = found.name or path.resolve().name
    origin = {"format": name, "name": source, "sha256": digest(found.files), "converted": found.done}
    sae.save(folder, {"origin": origin})
    return One(source, folder, sae.cfg.variant, sae.cfg.d_in, sae.cfg.width_out, sae.cfg.d_sae, tuple(found.done))
