"""attn_in and attn_out belong together: the rank-one terms of a layer lead from one to the other."""

import pytest
import torch

from saelab.sae.replacements import Lorsa
from saelab.sae.replacements.attention import AttentionWeights, Rotary

HEADS, WIDTH, LAYER = 4, 8, 1


def by_head(W, heads):
    """[heads * width, d] of a Linear to [heads, d, width]."""
    return W.detach().unflatten(0, (heads, WIDTH)).transpose(1, 2)


def gpt2(model):
    """Queries, keys and values of a Conv1D, [in, 3 * out]."""
    attn = model.transformer.h[LAYER].attn
    W = [by_head(part.t(), HEADS) for part in attn.c_attn.weight.chunk(3, dim=1)]
    b = [part.detach().unflatten(0, (HEADS, WIDTH)) for part in attn.c_attn.bias.chunk(3)]
    W_O = attn.c_proj.weight.detach().unflatten(0, (HEADS, WIDTH))
    return AttentionWeights(*W, W_O, *b, attn.c_proj.bias.detach())


def llama(model):
    """Grouped queries, rotary embeddings, no biases."""
    attn, keys = model.model.layers[LAYER].self_attn, 2
    W = by_head(attn.q_proj.weight, HEADS), by_head(attn.k_proj.weight, keys), by_head(attn.v_proj.weight, keys)
    W_O = attn.o_proj.weight.detach().t().unflatten(0, (HEADS, WIDTH))
    b = torch.zeros(HEADS, WIDTH), torch.zeros(keys, WIDTH), torch.zeros(keys, WIDTH)
    return AttentionWeights(*W, W_O, *b, torch.zeros(W_O.shape[2]), Rotary(10_000.0))


@pytest.mark.parametrize(("family", "weights"), [("gpt2", gpt2), ("llama", llama)])
def test_lorsa_of_a_models_own_weights_is_its_attention(models, originals, family, weights, ids):
    read, written = "blocks.1.attn.hook_in", "blocks.1.hook_attn_out"
    acts = models[family].activations(ids, [read, written])
    lorsa = Lorsa.exactly(weights(originals[family]), ids.shape[1]).eval()
    with torch.no_grad():
        made = lorsa(acts[read].flatten(0, 1)).unflatten(0, ids.shape)
    assert (made - acts[written]).abs().max() < 1e-4
    assert acts[written].abs().max() > 1e-2
