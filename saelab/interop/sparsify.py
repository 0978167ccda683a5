"""sparsify 1 (eai-sparsify): a folder of cfg.json and sae.safetensors, or a run's folder with one such per hookpoint.

    f     = TopK_k(ReLU((x - b_dec) W_enc^T + b_enc))        b_dec is taken off unless `transcode`
    y_hat = f W_dec + b_dec (+ x W_skip^T)                   encoder.weight [F, d], W_dec [F, d], W_skip [d, d]

Hookpoints are module paths, so a transcoder of `layers.5.mlp` reads that MLP's input and reproduces its output.
"""

from pathlib import Path
from typing import Any

from saelab.atomic import write_json
from saelab.contracts import canonical_site
from saelab.errors import FormatError, SiteError
from saelab.interop.files import closed, needed, open_safetensors, read_json, width
from saelab.interop.format import Format, cannot, save_tensors
from saelab.interop.found import Found, note_dtypes, with_centre, without_centre
from saelab.lm.sites import from_module_path, module_path
from saelab.sae import SAE

CONFIG, WEIGHTS, RUN = "cfg.json", "sae.safetensors", "config.json"
KEYS = {
    "activation", "expansion_factor", "normalize_decoder", "num_latents", "k", "multi_topk", "skip_connection",
    "transcode", "d_in", "signed",
}  # fmt: skip
DEPTH = 3  # folders from a run to a weight file: hookpoint, and one per seed


def detect(path: Path) -> bool:
    return bool(_folders(path))


def _folders(path: Path) -> list[Path]:
    """Where there are SAEs: the path itself, or folders below it."""
    if (path / WEIGHTS).is_file():
        return [path]
    patterns = ["/".join(["*"] * depth) + f"/{WEIGHTS}" for depth in range(1, DEPTH + 1)]
    return sorted(file.parent for pattern in patterns for file in path.glob(pattern))


def read(path: Path) -> list[Found]:
    return [_read(folder, path) for folder in _folders(path)]


def _read(folder: Path, path: Path) -> Found:
    values, where = read_json(folder / CONFIG), str(folder / CONFIG)
    closed(values, KEYS, where)
    _require_topk(values, where)
    d, skip = width(values, "d_in", where), bool(values.get("skip_connection", False))
    transcode = needed(values, "transcode", bool, where)
    n = width(values, "num_latents" if values.get("num_latents") else "expansion_factor", where)
    n = n if values.get("num_latents") else d * n
    shapes = {"encoder.weight": (n, d), "encoder.bias": (n,), "W_dec": (n, d), "b_dec": (d,)}
    file = open_safetensors(folder / WEIGHTS)
    tensors = file.read(shapes | ({"W_skip": (d, d)} if skip else {}), CONFIG)
    tensors |= {"W_enc": tensors.pop("encoder.weight").t(), "b_enc": tensors.pop("encoder.bias")}
    found = Found(_settings(values, d, n, where), tensors, {}, [folder / CONFIG, folder / WEIGHTS])
    found.name = "" if folder == path else "-".join(folder.relative_to(path).parts)
    found.done.append("encoder.weight turned to W_enc [d_in, d_sae]")
    if skip and not transcode:  # a skip connection beside a b_dec that is taken off the input
        found.tensors = without_centre(found.tensors)
        found.done.append("b_dec, taken off the input, moved into b_enc")
    note_dtypes(found, file.dtypes)
    _place(found, folder, path, transcode)
    return found


def _require_topk(values: dict[str, Any], where: str) -> None:
    activation, signed = needed(values, "activation", str, where), values.get("signed", False)
    if activation != "topk" or signed:
        what = f"activation = {activation!r}" + (", signed" if signed else "")
        raise FormatError(f"{where}: {what}; of sparsify's activations saelab computes topk alone.")


def _settings(values: dict[str, Any], d: int, n: int, where: str) -> dict[str, Any]:
    common = {"variant": "topk", "d_in": d, "d_sae": n, "k": width(values, "k", where)}
    if values["transcode"] or values.get("skip_connection"):
        return common | {"d_out": d, "transcoder": True, "skip": bool(values.get("skip_connection", False))}
    return common


def _place(found: Found, folder: Path, path: Path, transcode: bool) -> None:
    """The model from the run's own file, the site from the hookpoint's folder."""
    run = next((place / RUN for place in (path, folder.parent, folder.parent.parent) if (place / RUN).is_file()), None)
    if run is not None and isinstance(model := read_json(run).get("model"), str):
        found.metadata["model_name"] = model
    for part in (folder.resolve().name, folder.resolve().parent.name):  # seedN lies below a hookpoint
        try:
            site = from_module_path(part)
        except SiteError:
            continue
        read_at = canonical_site(site).replace("hook_mlp_out", "mlp.hook_in") if transcode else site
        found.at(read_at, site)
        return
    found.done.append(f"no hookpoint that saelab knows in the name {folder.name!r}")


def write(saes: dict[str, SAE], folder: Path) -> list[str]:
    """A run's folder: config.json with the model's name, and a folder per hookpoint."""
    done, hookpoints = [], {name: _hookpoint(sae) or name for name, sae in saes.items()}
    if len(set(hookpoints.values())) < len(saes):
        hookpoints = {name: name for name in saes}
        done.append("several SAEs of one hookpoint: each in a folder of its own name")
    for name, sae in saes.items():
        into = folder / hookpoints[name]
        into.mkdir()
        done += [f"written to {into.name}", *_write(sae, into)]
    models = {sae.metadata.get("model_name") for sae in saes.values()}
    write_json(folder / RUN, {"model": models.pop()} if len(models) == 1 else {})
    return list(dict.fromkeys(done))


def _hookpoint(sae: SAE) -> str | None:
    """The module whose output it reproduces; None where it is no module's."""
    try:
        return module_path(str(sae.metadata.get("hook_name_out") or sae.metadata.get("hook_name")))
    except SiteError:
        return None


def _write(sae: SAE, folder: Path) -> list[str]:
    settings = sae.exported_settings()
    if "k" not in settings or not sae.architecture.startswith("topk"):
        raise cannot(sae, "sparsify", "sparsify has TopK alone")
    if sae.cfg.width_out != sae.cfg.d_in:
        raise cannot(
            sae, "sparsify", f"it reads width {sae.cfg.d_in} and writes {sae.cfg.width_out}, sparsify one width"
        )
    t, done = sae.exported(), ["W_enc turned to encoder.weight [d_sae, d_in]"]
    if not sae.cfg.transcoder and not sae.cfg.apply_b_dec_to_input:
        t, done = with_centre(t), [*done, "b_dec, which sparsify takes off the input, added to b_enc"]
    named = {"encoder.weight": t["W_enc"].t(), "encoder.bias": t["b_enc"], "W_dec": t["W_dec"], "b_dec": t["b_dec"]}
    save_tensors(folder / WEIGHTS, named | ({"W_skip": t["W_skip"]} if sae.cfg.skip else {}))
    values = {
        "activation": "topk",
        "expansion_factor": max(1, sae.cfg.d_sae // sae.cfg.d_in),
        "normalize_decoder": not sae.cfg.transcoder,
        "num_latents": sae.cfg.d_sae,
        "k": settings["k"],
        "multi_topk": False,
        "skip_connection": sae.cfg.skip,
        "transcode": sae.cfg.transcoder,
        "d_in": sae.cfg.d_in,
    }
    write_json(folder / CONFIG, values)
    return done


FORMAT = Format(f"{CONFIG} and {WEIGHTS}, or folders that hold them", detect, read, write, several=True)
