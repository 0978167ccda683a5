"""Every site against modules and hooks of the plain Hugging Face model."""

from contextlib import contextmanager

import pytest
import torch

from saelab.contracts import SITE_KINDS, canonical_site
from saelab.errors import SiteError

FAMILIES = ["gpt2", "llama"]
LAYER = 1
WIDTH = 32

# site -> (module inside the block, whether its input or its output is meant)
PLACES = {
    "gpt2": {
        "resid_pre": ("", "in"),
        "resid_mid": ("ln_2", "in"),
        "resid_post": ("", "out"),
        "attn_in": ("attn", "in"),
        "attn_out": ("attn", "out"),
        "attn_z": ("attn.c_proj", "in"),
        "mlp_in": ("mlp", "in"),
        "mlp_out": ("mlp", "out"),
    },
    "llama": {
        "resid_pre": ("", "in"),
        "resid_mid": ("post_attention_layernorm", "in"),
        "resid_post": ("", "out"),
        "attn_in": ("self_attn", "in"),
        "attn_out": ("self_attn", "out"),
        "attn_z": ("self_attn.o_proj", "in"),
        "mlp_in": ("mlp", "in"),
        "mlp_out": ("mlp", "out"),
    },
}
CASES = [(family, kind) for family in FAMILIES for kind in SITE_KINDS]


def block(model, family):
    return (model.transformer.h if family == "gpt2" else model.model.layers)[LAYER]


@contextmanager
def changing(model, family, kind, change):
    """Apply `change` to an input or output of a plain model; it may return None to leave it as it is."""
    name, side = PLACES[family][kind]
    module = block(model, family).get_submodule(name)

    def on_input(module, args, kwargs):
        positional = bool(args)
        new = change(args[0] if positional else kwargs["hidden_states"])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if positional else (args, {**kwargs, "hidden_states": new})

    def on_output(module, args, output):
        rest = output[1:] if isinstance(output, tuple) else None
        new = change(output if rest is None else output[0])
        return new if new is None or rest is None else (new, *rest)

    if side == "in":
        handle = module.register_forward_pre_hook(on_input, with_kwargs=True)
    else:
        handle = module.register_forward_hook(on_output)
    try:
        yield
    finally:
        handle.remove()


def run(original, ids):
    with torch.no_grad():
        return original(ids, use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_plain_model(models, originals, family, ids):
    torch.testing.assert_close(models[family].logits(ids), run(originals[family], ids), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_activations_are_those_of_the_plain_model(models, originals, family, kind, ids):
    seen: list[torch.Tensor] = []
    with changing(originals[family], family, kind, seen.append):
        run(originals[family], ids)
    rows = models[family].activations(ids, [f"{kind}.{LAYER}"])[canonical_site(f"{kind}.{LAYER}")]
    torch.testing.assert_close(rows, seen[0], atol=1e-5, rtol=1e-5)
    assert rows.shape[2] == models[family].d_site(f"{kind}.{LAYER}")


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_an_edit_reaches_all_that_lies_behind_its_site(models, originals, family, kind, ids):
    shift = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    # the middle of the stream is what the attention writes into: moving either moves both
    same_as = "attn_out" if kind == "resid_mid" else kind
    with changing(originals[family], family, same_as, lambda tensor: tensor + shift):
        expected = run(originals[family], ids)
    with models[family].edited({f"{kind}.{LAYER}": lambda rows, start: rows + shift}):
        edited = models[family].logits(ids)
    torch.testing.assert_close(edited, expected, atol=1e-4, rtol=0)
    assert (edited - models[family].logits(ids)).abs().max() > 1e-2


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_an_edit_that_changes_nothing_changes_no_bit(models, family, kind, ids):
    before = models[family].logits(ids)
    with models[family].edited({f"{kind}.{LAYER}": lambda rows, start: rows.clone()}):
        assert torch.equal(models[family].logits(ids), before)


def test_all_sites_of_all_layers_come_out_of_one_pass(models, ids):
    lm = models["gpt2"]
    together = lm.activations(ids, lm.sites)
    assert tuple(together) == lm.sites
    assert len(lm.sites) == len(SITE_KINDS) * lm.n_layers
    for site in lm.sites:
        assert torch.equal(together[site], lm.activations(ids, [site])[site])


def test_a_pass_ends_with_the_last_site_that_was_asked_for(models, ids):
    lm, later = models["gpt2"], []
    handle = lm._hf.transformer.h[1].register_forward_hook(lambda *_: later.append(1))
    lm.activations(ids, ["resid_post.0"])
    assert not later
    lm.activations(ids, ["resid_post.0", "resid_post.2"])
    handle.remove()
    assert later


def test_what_is_read_inside_edited_is_what_the_edit_left(models, ids):
    lm = models["gpt2"]
    with lm.edited({"resid_post.0": lambda rows, start: torch.zeros_like(rows)}):
        assert lm.activations(ids, ["resid_post.0"])["blocks.0.hook_resid_post"].abs().max() == 0
        assert lm.activations(ids, ["resid_pre.1"])["blocks.1.hook_resid_pre"].abs().max() == 0


def test_edits_at_the_middle_and_the_end_of_a_block_follow_each_other_in_any_order(models, ids):
    lm = models["gpt2"]
    middle, end = {"resid_mid.1": lambda rows, start: rows + 1}, {"resid_post.1": lambda rows, start: rows * 2}
    with lm.edited(middle), lm.edited(end):
        expected = lm.logits(ids)
    with lm.edited(end), lm.edited(middle):
        torch.testing.assert_close(lm.logits(ids), expected)


def test_rows_can_be_trained_on(models, ids):
    rows = models["gpt2"].activations(ids, ["resid_post.1"])["blocks.1.hook_resid_post"]
    weight = torch.zeros(WIDTH, 3, requires_grad=True)
    (rows @ weight).sum().backward()
    assert weight.grad is not None


def hooks_left(lm):
    return sum(len(point.fwd_hooks) + len(point._forward_hooks) for point in lm.bridge.hook_dict.values())


def test_hooks_are_taken_away_when_an_edit_fails(models, ids):
    lm = models["gpt2"]

    def broken(rows, start):
        raise RuntimeError("an edit failed")

    for site in lm.sites:
        with pytest.raises(RuntimeError, match="an edit failed"), lm.edited({site: broken}):
            lm.logits(ids)
    lm.activations(ids, lm.sites)
    assert hooks_left(lm) == 0


def test_hooks_are_taken_away_when_a_later_site_does_not_exist(models, ids):
    lm = models["gpt2"]
    with pytest.raises(SiteError), lm.edited({"resid_post.1": lambda rows, start: rows, "resid_post.9": broken_edit}):
        pass
    with pytest.raises(SiteError):
        lm.activations(ids, ["resid_post.1", "resid_post.9"])
    assert hooks_left(lm) == 0


def broken_edit(rows, start):
    raise AssertionError


def test_a_site_the_model_does_not_have_lists_those_it_has(models, ids):
    with pytest.raises(SiteError, match=r"has no site resid_post\.9\. Sites here are KIND\.LAYER with layers 0 to 2"):
        models["gpt2"].activations(ids, ["resid_post.9"])


def test_a_decoder_row_at_z_writes_through_the_output_matrix(models, originals):
    W_dec = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(3))
    W_O = originals["gpt2"].transformer.h[1].attn.c_proj.weight  # Conv1D: [in, out]
    torch.testing.assert_close(models["gpt2"].output_direction("attn_z.1", W_dec), W_dec @ W_O)
    W_O = originals["llama"].model.layers[1].self_attn.o_proj.weight  # Linear: [out, in]
    torch.testing.assert_close(models["llama"].output_direction("attn_z.1", W_dec), W_dec @ W_O.T)


def test_elsewhere_a_decoder_row_writes_itself_and_behind_a_norm_nothing(models):
    W_dec = torch.eye(WIDTH)
    for kind in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"):
        assert torch.equal(models["gpt2"].output_direction(f"{kind}.0", W_dec), W_dec)
    with pytest.raises(SiteError, match="writes nothing"):
        models["gpt2"].output_direction("mlp_in.0", W_dec)
    with pytest.raises(SiteError, match="the attention reads there"):
        models["gpt2"].output_direction("attn_in.0", W_dec)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_residual_gives_the_logits(models, originals, family, ids):
    lm = models[family]
    last = f"blocks.{lm.n_layers - 1}.hook_resid_post"
    torch.testing.assert_close(lm.final_logits(lm.activations(ids, [last])[last]), lm.logits(ids), atol=1e-5, rtol=0)
    torch.testing.assert_close(lm.W_U, originals[family].lm_head.weight.T)
    norm = originals[family].transformer.ln_f if family == "gpt2" else originals[family].model.norm
    torch.testing.assert_close(lm.final_gain, norm.weight)


def test_loss_is_the_surprise_at_the_next_token(models, ids):
    loss = models["gpt2"].loss(ids)
    probability = models["gpt2"].logits(ids)[1, 2].softmax(-1)[ids[1, 3]]
    assert loss.shape == (2, 6)
    assert loss[1, 2].item() == pytest.approx(-probability.log().item(), abs=1e-5)
