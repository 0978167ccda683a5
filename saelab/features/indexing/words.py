"""Stage 8: what the pages read besides numbers: token strings, document names, and how every number was computed.

With the strings in the index, pages are drawn without a language model.
"""

import json
from typing import Any

import pyarrow as pa

from saelab.features import marked
from saelab.features.indexing.coactivation import sample
from saelab.features.indexing.job import Job
from saelab.features.indexing.keys import Buckets
from saelab.features.indexing.logits import VARIANT

MEANING = {
    "density": "tokens on which the feature is above zero / counted tokens, without BOS, padding and specials",
    "moments": "mean, std and quantiles are of activations above zero, as kept in half precision",
    "histogram": "activations above zero in fixed bins, four per factor of two",
    "top": "strongest contexts; one example per context, at its strongest token; equal activations by row",
    "sampled": "contexts in groups of equal count by rank; from each group those with the smallest hash",
    "logits": VARIANT,
    "neighbours": "cosine of decoder rows",
    "map": "unit decoder rows, centred, on the two directions in which they vary most (principal components)",
    "coactive": "tokens on which both fire / tokens on which either fires, on a sample of the tokens",
}


def write_words(job: Job, buckets: Buckets) -> None:
    """The three tables, each unless it is done."""
    tables = {"vocabulary": _vocabulary, "documents": _documents, "provenance": lambda job: _provenance(job, buckets)}
    for name, table in tables.items():
        if marked.facts(job.layout.table(name)) is None:
            marked.put_table(job.layout.table(name), table(job))


def _vocabulary(job: Job) -> pa.Table:
    strings = job.lm.token_strings(list(range(job.lm.n_vocab))) if job.lm else []
    return pa.table({"id": pa.array(range(len(strings)), pa.int32()), "token": pa.array(strings, pa.string())})


def _documents(job: Job) -> pa.Table:
    names = job.store.documents(job.cfg.split)
    return pa.table({"doc": pa.array(list(names), pa.int32()), "name": pa.array(list(names.values()), pa.string())})


def _provenance(job: Job, buckets: Buckets) -> pa.Table:
    facts: dict[str, Any] = {**job.request, "bucket_width": buckets.width, "coactive_tokens": sample(job).shape[0]}
    facts["map_variance"] = (marked.facts(job.layout.table("weights")) or {}).get("map_variance")
    values = [json.dumps(value, sort_keys=True) for value in facts.values()]
    return pa.table(
        {
            "name": [*facts, *(f"how {name}" for name in MEANING)],
            "value": [*values, *(json.dumps(text) for text in MEANING.values())],
        }
    )
