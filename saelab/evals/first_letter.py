"""Words whose first letter a model is to know: single tokens of its vocabulary, each after three worked examples.

The site is read at the word itself. A causal model cannot look ahead, so what would follow ("has the first letter:") is
in the examples only, where it tells what will be asked.
"""

from collections import Counter

import numpy as np
import torch
from scipy import sparse

from saelab.contracts import Progress
from saelab.errors import EvalSkipped
from saelab.evals.sample import Sample
from saelab.evals.subject import Subject
from saelab.intervene import sites

EXAMPLES = "table has the first letter: T\nmoney has the first letter: M\nriver has the first letter: R\n"
SHORTEST = 3
AT_ONCE = 64


def word_samples(subject: Subject, words: int, progress: Progress) -> tuple[Sample, Sample]:
    """(to fit on, to measure on): every other word in the order of the vocabulary, labels A to Z.

    Raises EvalSkipped when no words are asked for or the vocabulary has too few.
    """
    ids = vocabulary(subject)
    if (length := len(subject.lm.prompt(EXAMPLES)) + 1) > subject.lm.context:
        raise EvalSkipped(f"first letters need {length} tokens of context; the model has {subject.lm.context}")
    if not words or len(ids) < 200:
        raise EvalSkipped(f"first letters need 200 words that are one token; {len(ids) if words else 0} are there")
    chosen = np.random.default_rng(0).permutation(len(ids))[:words]
    tokens = [ids[i] for i in np.sort(chosen)]
    known = [word.strip()[0].upper() for word, _ in tokens]
    names = tuple(sorted(Counter(known)))
    labels = np.array([[letter == name for letter in known] for name in names])
    x, f = _encoded(subject, [token for _, token in tokens], progress)
    whole = Sample(names, labels, x, f)
    return whole.take(np.arange(0, len(known), 2)), whole.take(np.arange(1, len(known), 2))


def vocabulary(subject: Subject) -> list[tuple[str, int]]:
    """(word, token): tokens that begin a word in small letters, of three letters or more."""
    lm = subject.lm
    shown = [(lm.decode([token]), token) for token in range(lm.n_vocab) if token not in lm.special]
    return [
        (text, token)
        for text, token in shown
        if text.startswith(" ")
        and text[1:].isascii()
        and text[1:].isalpha()
        and text[1:].islower()
        and len(text) > SHORTEST
    ]


@torch.inference_mode()
def _encoded(subject: Subject, tokens: list[int], progress: Progress) -> tuple[np.ndarray, sparse.csr_matrix]:
    sae, lm = subject.sae, subject.lm
    read, _ = sites(sae)
    before = [*([] if lm.bos is None else [lm.bos]), *lm.encode(EXAMPLES)]
    progress.start("words", len(tokens), "words")
    rows, features = [], []
    for first in range(0, len(tokens), AT_ONCE):
        some = tokens[first : first + AT_ONCE]
        ids = torch.tensor([[*before, token] for token in some], device=lm.device)
        x = lm.activations(ids, [read])[read][:, -1].to(sae.W_enc)
        rows.append(x.float().cpu().numpy())
        features.append(sparse.csr_matrix(sae.encode_sparse(x).dense().clamp_min(0).float().cpu().numpy()))
        progress.advance(len(some))
    return np.concatenate(rows), sparse.vstack(features).tocsr()
