import pytest

from saelab.contracts import SITE_KINDS
from saelab.errors import SiteError
from saelab.lm.sites import bridge_hook, expand, from_module_path, layer, module_path

FAMILIES = ["gpt2", "llama"]


@pytest.mark.parametrize(
    ("pattern", "sites"),
    [
        ("resid_post.2", ["blocks.2.hook_resid_post"]),
        ("attn_z.0-1", ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"]),
        ("mlp_in.*", [f"blocks.{i}.mlp.hook_in" for i in range(3)]),
        ("mlp.1", ["blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"]),
        ("attn.1", ["blocks.1.attn.hook_in", "blocks.1.hook_attn_out"]),
        ("blocks.1.hook_resid_mid", ["blocks.1.hook_resid_mid"]),
        ("blocks.1-2.hook_resid_pre", ["blocks.1.hook_resid_pre", "blocks.2.hook_resid_pre"]),
    ],
)
def test_a_pattern_stands_for_canonical_sites(pattern, sites):
    assert expand([pattern], 3) == tuple(sites)


def test_sites_keep_their_order_and_come_once():
    assert [layer(site) for site in expand(["resid_post.2", "resid_post.*"], 3)] == [2, 0, 1]


@pytest.mark.parametrize("pattern", ["resid_post.3", "resid_post.1-3", "resid_post.2-1", "resid.1", "blocks.1.ln1", ""])
def test_a_site_that_does_not_exist_lists_those_that_do(pattern):
    with pytest.raises(SiteError, match=r"layers 0 to 2 and kinds resid_pre, .*mlp_out; ranges are written"):
        expand([pattern], 3)


def test_no_site_at_all_is_refused():
    with pytest.raises(SiteError, match="No site was named"):
        expand([], 3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", SITE_KINDS)
def test_the_table_of_hooks_agrees_with_the_bridge(models, family, kind):
    [site] = expand([f"{kind}.1"], 2)
    assert models[family].bridge.hook_dict[site].name == bridge_hook(site)


@pytest.mark.parametrize("kind", ["resid_post", "mlp_out", "attn_out"])
def test_module_paths_go_there_and_back(kind):
    [site] = expand([f"{kind}.5"], 9)
    assert from_module_path(module_path(site)) == site
    assert from_module_path("transformer." + module_path(site, blocks="h", attention="attn")) == site


def test_module_paths_are_the_models_own():
    assert module_path("blocks.5.hook_mlp_out") == "layers.5.mlp"
    assert module_path("blocks.5.hook_attn_out", blocks="h", attention="attn") == "h.5.attn"


def test_what_has_no_module_path_is_refused():
    with pytest.raises(SiteError, match="not the output of a module"):
        module_path("blocks.5.hook_resid_mid")
    with pytest.raises(SiteError, match=r"Write layers\.N"):
        from_module_path("layers.5.norm")
