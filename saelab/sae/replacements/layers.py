"""A cross-layer transcoder layer by layer, for raw activations: the tensors other libraries keep of one.

circuit-tracer's files hold them in these shapes, under the names W_enc_l, b_enc_l, b_dec_l, threshold_l and W_dec_l.
Its CLTs are relu or jump_relu, so one trained with topk has no form there.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.sae.replacements.clt import CLT
from saelab.sae.sites import sites_read, sites_written


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One source layer: f = activation(x W_enc^T + b_enc), written by W_dec[:, j] to the MLP output of layer l + j."""

    W_enc: Float[Tensor, "features d"]
    b_enc: Float[Tensor, "features"]
    W_dec: Float[Tensor, "features targets d_out"]
    b_dec: Float[Tensor, "d_out"]  # of the output at this layer
    threshold: Float[Tensor, "features"] | None


@torch.no_grad()
def raw_layers(clt: CLT) -> list[LayerWeights]:
    """Every layer of a trained CLT. Activations are the checkpoint's; only what they meet is in raw units."""
    read = sites_read(clt.metadata, clt.cfg.d_in)
    written = sites_written(clt.metadata, clt.cfg.d_in, clt.cfg.width_out)
    s_y = torch.tensor([part.scale for part in written.parts], device=clt.b_dec.device)
    b_dec = clt.b_dec.view(clt.cfg.n_layers, -1) / s_y.unsqueeze(1)
    found = []
    for layer, part in enumerate(read.parts):
        threshold = None if clt.log_threshold is None else clt.log_threshold[layer].exp()
        W_dec = clt.decoder(layer) / s_y[layer:].view(1, -1, 1)
        W_enc = clt.encoders[layer] * part.scale
        found.append(LayerWeights(W_enc.clone(), clt.b_enc[layer].clone(), W_dec, b_dec[layer].clone(), threshold))
    return found
