"""OpenAI's sparse_autoencoder (2024): one .pt with pre_bias, encoder.weight, latent_bias, decoder.weight, activation.

    f = ReLU((x - pre_bias) W_enc^T + latent_bias),   x_hat = f W_dec^T + pre_bias

Its TopK files go with a LayerNorm of every row, which no saelab checkpoint does; they are refused.
"""

from pathlib import Path

from torch import Tensor

from saelab.errors import FormatError
from saelab.interop.files import load_weights_only, needed, open_pt
from saelab.interop.format import Format
from saelab.interop.found import Found, note_dtypes

KEYS = {"pre_bias", "encoder.weight", "latent_bias", "decoder.weight"}
COUNTERS = "stats_"  # buffers of training


def detect(path: Path) -> bool:
    return path.is_file() and path.suffix == ".pt" and path.name != "ae.pt"  # which is dictionary_learning's


def read(path: Path) -> list[Found]:
    file = open_pt(path)
    activation = needed(load_weights_only(path, "meta"), "activation", str, str(path))
    if activation != "ReLU":
        raise FormatError(
            f"{path}: activation = {activation!r}. Of OpenAI's files saelab reads ReLU; TopK files normalise every row "
            "by itself, which no saelab checkpoint does."
        )
    n, d = file.shape("encoder.weight", "d_sae d_in")
    shapes: dict[str, tuple[int, ...]] = {"pre_bias": (d,), "encoder.weight": (n, d), "latent_bias": (n,)}
    counters = {name: shape for name, (_, shape) in file.header.items() if name.startswith(COUNTERS)}
    raw = file.read(shapes | {"decoder.weight": (d, n)} | counters, "the shape of encoder.weight")
    tensors: dict[str, Tensor] = {
        "W_enc": raw["encoder.weight"].t(), "b_enc": raw["latent_bias"],
        "W_dec": raw["decoder.weight"].t(), "b_dec": raw["pre_bias"],
    }  # fmt: skip
    found = Found({"variant": "relu", "d_in": d, "d_sae": n}, tensors, {}, [path])
    found.done.append("pre_bias is taken off the input; encoder.weight and decoder.weight turned")
    note_dtypes(found, file.dtypes)
    return [found]


FORMAT = Format("one .pt file of a state dict with pre_bias", detect, read)
