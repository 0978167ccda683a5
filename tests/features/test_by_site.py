"""A crosscoder's features by site, and its index: two sites, two tokens of each kind, and weights written by hand."""

import pytest
import torch

from saelab.config import settings
from saelab.errors import CheckpointError
from saelab.features import IndexConfig, build_index, fires_on, site_shares
from saelab.intervene import sites
from saelab.lm import LanguageModel
from saelab.sae import SAE, VARIANTS
from saelab.sae.sites import Part, Sites
from saelab.store import ShardColumns, StoreWriter

FIRST, SECOND = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
BOTH = Sites((Part(FIRST, 2, 1.0), Part(SECOND, 3, 0.1)))
EARLY = torch.tensor([[3.0, 0.0], [0.0, 2.0], [3.0, 2.0], [0.0, 0.0]])
LATE = torch.tensor([[40.0, 0.0, 0.0], [0.0, 0.0, 0.0], [40.0, 0.0, 70.0], [0.0, 0.0, 70.0]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Feature 0 is written at both sites, 1 at the first, 2 at the second; each reads what it writes."""
    relu = VARIANTS["relu"]
    sae = relu(settings(relu.Config, {"d_in": 5, "d_sae": 3}, where="test"))
    rows = torch.tensor([[0.6, 0.0, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
    with torch.no_grad():
        sae.W_dec.copy_(rows)
        sae.W_enc.copy_(rows.t())
    folder = tmp_path_factory.mktemp("crosscoder") / "sae" / "both"
    sae.save(folder, {"hook_name": [FIRST, SECOND], "hook_name_out": [FIRST, SECOND], "sites": BOTH.to_json(),
                      "sites_out": BOTH.to_json(), "model_name": "tiny"})  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path, n = tmp_path_factory.mktemp("crosscoder") / "store", torch.arange(4)
    about = {"name": "tiny", "fingerprint": "f00d", "n_layers": 2, "context": 8}
    widths = {FIRST: 2, SECOND: 3}
    with StoreWriter.begin(path, config={}, model=about, corpus={}, sites=widths, dtype="float32") as writer:
        writer.write_shard("train", 0, ShardColumns(n * 0, n, n * 0, n, 0, 0, 1), {FIRST: EARLY, SECOND: LATE})
        writer.write_documents("train", {0: "one.py"})
        return writer.finish()


class TwoSites(LanguageModel):
    """Token i of the text has row i of EARLY and LATE; the unembedding reads the second site's last direction."""

    def __init__(self) -> None:
        self.name, self.fingerprint, self.bos, self.context, self.n_vocab = "tiny", "f00d", None, 8, 4
        self.device = torch.device("cpu")
        self.asked: list[str] = []

    @property
    def W_U(self):
        return torch.tensor([[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, 4.0]])

    @property
    def final_gain(self):
        return torch.ones(3)

    def output_direction(self, site, W_dec):
        self.asked.append(site)
        return W_dec

    def encode_with_offsets(self, text):
        return list(range(len(text))), [(i, i + 1) for i in range(len(text))]

    def token_strings(self, ids):
        return [chr(97 + i) for i in ids]

    def activations(self, ids, sites):
        return {FIRST: EARLY[ids], SECOND: LATE[ids]}


def test_shares_are_each_feature_s_norms_over_their_sum(checkpoint):
    found = site_shares(SAE.load(checkpoint))
    assert found.sites == (FIRST, SECOND)
    torch.testing.assert_close(found.shares, torch.tensor([[3 / 7, 4 / 7], [1.0, 0.0], [0.0, 1.0]]))
    assert found.peak.tolist() == [1, 0, 1]
    columns, rows = found.table()
    assert [row[2:] for row in rows] == [(1, 1), (2, 1)]
    assert len(columns) == len(rows[0])


def test_an_index_reads_the_sites_side_by_side_and_takes_logits_from_the_last(checkpoint, store, tmp_path):
    lm = TwoSites()
    index = build_index(checkpoint, store, tmp_path, lm, cfg=IndexConfig(before=1, after=1))
    assert index.site == f"{FIRST} + {SECOND}"
    assert index.stats(0).max == 5.0  # 0.6 * 3 + 0.8 * 40 / 10
    assert index.stats(2).count == 2
    assert lm.asked == [SECOND]
    assert index.card(2).effects.promoted[0].logit == pytest.approx(10.0 * 3)  # a unit of it is 10 raw; 4 less the mean


def test_a_text_is_read_at_every_site(checkpoint):
    found = fires_on(TwoSites(), SAE.load(checkpoint), "abcd")
    assert [[f.feature for f in token] for token in found.features] == [[0], [1], [2, 0, 1], [2]]


def test_what_changes_one_site_refuses_a_crosscoder(checkpoint):
    with pytest.raises(CheckpointError, match="crosscoder of several sites"):
        sites(SAE.load(checkpoint))
