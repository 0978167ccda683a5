"""Run by the Python of an environment that holds the peers: do they read what saelab exported as saelab does?

    python read_with_peers.py FOLDER

FOLDER/<format>/<name>/ holds an export, and <name>.safetensors beside it rows x, our codes f and reproductions x_hat.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 1e-5  # fp32 sums of a few dozen terms of size 1, in another order
Computed = tuple[Tensor, Tensor]


def saelens(folder: Path, x: Tensor) -> Computed:
    from sae_lens import SAE

    sae = SAE.load_from_disk(folder)
    return sae.encode(x), sae(x)


def sparsify(folder: Path, x: Tensor) -> Computed:
    from sparsify import SparseCoder
    from write_with_peers import codes

    (coder,) = SparseCoder.load_many(str(folder), local=True).values()
    return codes(coder, x), coder(x).sae_out


def dictionary_learning(folder: Path, x: Tensor) -> Computed:
    from dictionary_learning.utils import load_dictionary

    ae, _ = load_dictionary(str(folder), device="cpu")
    if json.loads((folder / "config.json").read_text())["trainer"]["dict_class"] == "AutoEncoder":
        ae = type(ae).from_pretrained(folder / "ae.pt", normalize_decoder=False)  # else it changes the codes' units
    f = ae.encode(x)
    return f, ae.decode(f)


def circuit_tracer(folder: Path, x: Tensor) -> Computed:
    from circuit_tracer.transcoder.cross_layer_transcoder import load_clt
    from circuit_tracer.transcoder.single_layer_transcoder import load_relu_transcoder

    cpu = torch.device("cpu")
    if not (folder / "W_enc_0.safetensors").is_file():
        one = load_relu_transcoder(str(folder / "layer_0.safetensors"), 0, cpu)
        return one.encode(x), one(x)
    clt = load_clt(str(folder), device=cpu, dtype=torch.float32)
    layers = x.unflatten(1, (clt.n_layers, -1)).transpose(0, 1)
    f, x_hat = (each.transpose(0, 1).flatten(1) for each in (clt.encode(layers), clt(layers)))
    return f, x_hat


def check(format: str, folder: Path) -> dict[str, object]:
    expected = load_file(folder.with_name(folder.name + ".safetensors"))
    with torch.no_grad():
        f, x_hat = globals()[format](folder, expected["x"])
    apart = max((f - expected["f"]).abs().max().item(), (x_hat - expected["x_hat"]).abs().max().item())
    return {"format": format, "name": folder.name, "apart": apart, "equal": apart <= TOLERANCE}


if __name__ == "__main__":
    found = [
        check(format.name, folder)
        for format in sorted(Path(sys.argv[1]).iterdir())
        for folder in sorted(format.iterdir())
        if folder.is_dir()
    ]
    print(json.dumps(found))
