import json

import numpy as np
import pytest

from saelab.contracts import Silent
from saelab.errors import EvalError
from saelab.evals import EVALS, feature_labels
from saelab.evals.labelled import encoded, halves, labelled_documents
from saelab.evals.labels import LABELS

COUNT = {"tokens": 400, "positives": 3}


def run(sae, lm, store, **changes):
    syntax = EVALS["syntax"]
    return syntax.measure(sae, lm, store, syntax.Config.model_validate({**COUNT, **changes}))


def test_tokens_carry_the_labels_of_their_document(identity, lm, store):
    documents = labelled_documents(lm, store, 400, 2048, Silent())
    half = encoded(identity, lm, documents, 2, Silent())
    names = tuple(LABELS)
    tokens = [token for document in documents for context in document.contexts for token in context.ids[1:]]
    count = half.labels.sum(axis=1)
    assert half.labels.shape == (len(names), len(tokens))
    assert len(half.x) == len(tokens)
    assert count[names.index("keyword def")] == 3 * len(documents)
    assert count[names.index("keyword return")] == 6 * len(documents)
    assert count[names.index("parameter")] == 2 * len(documents)
    assert count[names.index("arithmetic sign")] == 2 * len(documents)


def test_features_of_a_half_are_those_of_its_rows(identity, lm, store):
    half = encoded(identity, lm, labelled_documents(lm, store, 400, 2048, Silent()), 2, Silent())
    dense = np.zeros((len(half.x), 64), dtype=np.float32)
    dense[half.features.token, half.features.unit] = half.features.value
    assert np.allclose(dense[:, :32] - dense[:, 32:], half.x, atol=1e-5)


def test_no_document_is_in_both_halves(lm, store):
    documents = labelled_documents(lm, store, 400, 2048, Silent())
    a, b = ({document.name for document in half} for half in halves(documents))
    assert not a & b
    assert a | b == {document.name for document in documents}
    assert len(a) - len(b) in (0, 1)


def test_contexts_of_a_long_document_are_spread_over_it(lm, make_store):
    store = make_store("\n".join(f"x{{n}} = {i}" for i in range(100)), heldout=2)
    (first, *_) = labelled_documents(lm, store, 10_000, 3 * 32, Silent())
    starts = [context.pos[1] for context in first.contexts]
    assert len(starts) == 3
    assert starts[0] == 0
    assert starts[2] > 0.6 * first.labels.shape[1]


def test_labels_of_real_modules_are_found_and_named(identity, lm, store):
    result = run(identity, lm, store)
    assert {"keyword", "docstring", "comment"} <= {one.label for one in result.labels}
    assert result.labels[0].f1 >= result.labels[-1].f1
    assert all(
        set(label) == {"label", "kind", "f1", "precision", "recall"} for label in feature_labels(result).values()
    )
    assert json.loads(json.dumps(result.to_json()))["labels"][0]["label"] == result.labels[0].label


def test_text_that_is_no_python_is_refused(identity, lm, make_store):
    with pytest.raises(EvalError, match="of the 6 read from the files corpus of .*, 0 are Python"):
        run(identity, lm, make_store("It was a bright cold day in April, number {n}."))


def test_one_document_is_not_enough_for_two_halves(identity, lm, make_store):
    with pytest.raises(EvalError, match="of two held-out documents at least"):
        run(identity, lm, make_store("x = {n}\n", heldout=1))
