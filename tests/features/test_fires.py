"""Which features fire on a text: a model whose residual stream is written by hand, the planted SAE, and its index."""

import math

import pytest
import torch

from saelab.errors import CorpusError, FeatureIndexError
from saelab.features import fires_on
from saelab.lm import LanguageModel
from saelab.sae import SAE

WRITES = {0: [9.0, 9.0, 9.0], 1: [1.0, 0.0, 0.0], 2: [3.0, 2.0, 0.0], 3: [0.0, 0.0, 4.0]}  # token -> residual; 0 is BOS


class Speller(LanguageModel):
    """One token per character, a to c; each writes what WRITES says, whatever stands around it."""

    def __init__(self, context: int) -> None:
        self.bos, self.context, self.device = 0, context, torch.device("cpu")
        self.read: list[list[int]] = []

    def encode_with_offsets(self, text):
        return [ord(letter) - 96 for letter in text], [(i, i + 1) for i in range(len(text))]

    def token_strings(self, ids):
        return [chr(96 + i) for i in ids]

    def activations(self, ids, sites):
        self.read += ids.tolist()
        return {site: torch.tensor([[WRITES[i] for i in row] for row in ids.tolist()]) for site in sites}


@pytest.fixture
def sae(planted):
    return SAE.load(planted[0])


def test_every_token_tells_what_fires_on_it_strongest_first(sae):
    found = fires_on(Speller(context=8), sae, "abc")
    assert [[(f.feature, f.activation) for f in token] for token in found.features] == [
        [(0, 1.0)],
        [(0, 3.0), (1, 2.0)],
        [(2, 4.0)],
    ]
    assert found.tokens == ("a", "b", "c")
    assert found.spans[1] == (1, 2)
    assert found.activations(0) == (1.0, 3.0, 0.0)


def test_features_are_ranked_by_maximum_and_by_sum(sae):
    found = fires_on(Speller(context=8), sae, "abb")
    assert [(f.feature, f.max, f.peak) for f in found.ranking("max")] == [(0, 3.0, 1), (1, 2.0, 1)]
    assert [(f.feature, f.sum, f.tokens) for f in found.ranking("sum")] == [(0, 7.0, 3), (1, 4.0, 2)]
    assert len(found.ranking("max", limit=1)) == 1


def test_specificity_lifts_what_is_rare_in_the_index(sae, index):
    found = fires_on(Speller(context=8), sae, "b", index)  # features 0 and 1 fire on 7 and 4 of the index's 10 tokens
    ranked = found.ranking("specificity")
    assert [f.feature for f in ranked] == [1, 0]
    assert ranked[0].specificity == pytest.approx(2 * math.log(11 / 5))


def test_specificity_without_an_index_is_refused(sae):
    with pytest.raises(FeatureIndexError, match="needs to know how rare"):
        fires_on(Speller(context=8), sae, "a").ranking("specificity")


def test_an_unknown_ranking_is_refused_with_those_there_are(sae):
    with pytest.raises(FeatureIndexError, match=r"'loudness'\. Rank by one of: max, sum, specificity"):
        fires_on(Speller(context=8), sae, "a").ranking("loudness")


def test_a_text_longer_than_the_context_is_read_in_pieces_each_with_its_bos(sae):
    lm = Speller(context=3)
    found = fires_on(lm, sae, "abcab")
    assert lm.read == [[0, 1, 2], [0, 3, 1], [0, 2]]
    assert [token[0].feature for token in found.features] == [0, 0, 2, 0, 0]


def test_a_text_without_tokens_is_refused(sae):
    with pytest.raises(CorpusError, match="has no tokens"):
        fires_on(Speller(context=8), sae, "")
