import pytest
import torch

from saelab.contracts import Codes, canonical_site
from saelab.errors import SiteError


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("resid_post.8", "blocks.8.hook_resid_post"),
        ("attn_z.0", "blocks.0.attn.hook_z"),
        ("mlp_in.11", "blocks.11.mlp.hook_in"),
        ("blocks.3.hook_mlp_out", "blocks.3.hook_mlp_out"),
    ],
)
def test_a_site_has_one_canonical_name(text, site):
    assert canonical_site(text) == site


@pytest.mark.parametrize("text", ["resid.8", "resid_post", "resid_post.*", "blocks.1.hook_nothing", "../x", ""])
def test_what_is_no_site_is_refused_with_the_kinds_there_are(text):
    with pytest.raises(SiteError, match="resid_pre, resid_mid, resid_post"):
        canonical_site(text)


def test_padding_is_told_by_the_count_not_by_the_value():
    codes = Codes(idx=torch.tensor([[0, 2], [0, 0]]), val=torch.tensor([[0.0, 3.0], [5.0, 0.0]]), n=3,
                  count=torch.tensor([2, 1]))  # fmt: skip
    assert codes.mask.tolist() == [[True, True], [True, False]]
    assert codes.dense().tolist() == [[0.0, 0.0, 3.0], [5.0, 0.0, 0.0]]
    assert codes.l0.tolist() == [1, 1]
