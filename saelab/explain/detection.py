"""The rules of features, and where they say yes: what `saelab.evals.autointerp` judges."""

import numpy as np
from jaxtyping import Bool, Int

from saelab.contracts import Progress
from saelab.evals.subject import Explanation, Explanations
from saelab.explain.choose import choose
from saelab.explain.families import Family, Marks, Partition, place_family, token_families
from saelab.explain.rules import RuleConfig, halves
from saelab.explain.syntax import syntax_family
from saelab.explain.text import Text, read_text
from saelab.features import Index
from saelab.lm import LanguageModel
from saelab.store import Store

WINDOW = 32  # tokens, as delphi's


def explanations(
    index: Index, store: Store, lm: LanguageModel, tokens: int, most: int, seed: int, progress: Progress
) -> Explanations:
    """The rules of at most `most` features, drawn at random, chosen on half A; rows are those of half B."""
    cfg = RuleConfig.model_validate({"tokens": tokens})
    text = read_text(store, index, cfg.tokens)
    syntax = syntax_family(lm, store, str(index.facts["settings"]["split"]), text, progress)
    families = [*token_families(text, cfg.most), place_family(text), *([syntax] if syntax else [])]
    drawn = np.random.default_rng(seed).permutation(index.n_features)[:most]
    wanted = set(drawn.tolist())
    place = np.cumsum(text.other) - 1  # of a row among those of half B
    found, asked = [], 0
    progress.start("explanations", index.n_features, "features")
    for firing in index.firing():
        progress.advance(1)
        if firing.feature not in wanted:
            continue
        a, b = halves(firing, text)
        if min(len(a.rows), len(b.rows)) < cfg.least:
            continue
        asked += 1
        rule = choose(a, families, len(text) - int(text.other.sum()), cfg.least, b)
        if rule is not None:
            above = b.acts > rule.threshold
            says = place[np.flatnonzero(said(rule.family, rule.keys) & text.other)]
            words = rule.family.words(rule.keys)
            found.append(Explanation(firing.feature, words, place[b.rows[above]], b.acts[above], says))
    return Explanations(windows(text)[text.other], asked, tuple(found))


def said(family: Family, keys: tuple[int, ...]) -> Bool[np.ndarray, "rows"]:
    """The rows on which the rule of these keys says yes."""
    if isinstance(family, Partition):
        return np.isin(family.key, keys)
    assert isinstance(family, Marks), type(family)
    return np.asarray(family.has[:, list(keys)].sum(axis=1)).ravel() > 0


def windows(text: Text) -> Int[np.ndarray, "rows"]:
    """A number for each row's window: WINDOW tokens of one context."""
    context = np.cumsum(text.first) - 1
    start = np.flatnonzero(text.first)
    since = np.arange(len(text)) - start[context]
    begins = text.first | (since % WINDOW == 0)
    return np.cumsum(begins) - 1
