import torch

from saelab.intervene import replaced, spliced


def counted(ids):
    return (ids != 0).unsqueeze(0)


def test_the_splice_puts_the_reproduction_where_tokens_count(lm, sae):
    ids, site = lm.prompt("def f"), sae.metadata["hook_name"]
    x = lm.activations(ids[None], [site])[site]
    with lm.edited(spliced(sae, counted(ids))):
        seen = lm.activations(ids[None], [site])[site]
    assert torch.allclose(seen[0, 1:], sae(x[0, 1:]), atol=1e-5)
    assert torch.equal(seen[0, 0], x[0, 0])  # the BOS


def test_a_transcoders_splice_replaces_its_output(lm, transcoder):
    ids = lm.prompt("def f")
    read, write = "blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"
    x = lm.activations(ids[None], [read])[read]
    with lm.edited(spliced(transcoder, counted(ids))):
        seen = lm.activations(ids[None], [write])[write]
    assert torch.allclose(seen[0, 1:], transcoder(x[0, 1:]), atol=1e-5)


def test_a_fixed_row_replaces_what_counts(lm):
    ids, site = lm.prompt("def f"), "blocks.0.hook_resid_post"
    x = lm.activations(ids[None], [site])[site]
    with lm.edited(replaced(site, torch.ones(32), counted(ids))):
        seen = lm.activations(ids[None], [site])[site]
    assert (seen[0, 1:] == 1).all()
    assert torch.equal(seen[0, 0], x[0, 0])
