"""Neuronpedia: a source as its importer reads one, DIR/MODEL/LAYER-SET/ with four .jsonl and folders of .jsonl.gz.

    release, model, sourceset, source .jsonl    one row each: what the features belong to
    features/batch-{i}.jsonl.gz                 rows of the table Neuron, 256 to a file
    activations/batch-{i}.jsonl.gz              rows of Activation: an example each
    explanations/batch-{i}.jsonl.gz             rows of Explanation: the labels, where a page of features has any

Columns are those of Neuronpedia's schema (2026-08) and mean what saedashboard.py says of its fields; besides,
topkCosSimIndices and -Values are the feature itself and its nearest decoder rows, dataSource the document's name and
dataIndex its number in the corpus. Left to the database's defaults: times, vectors and their steering strength, what
saedashboard.py leaves empty, embeddings, prompts and data set of a source. A model needs numbers that the index does
not hold: `layers` and `neuronsPerLayer` are 0, as Neuronpedia's converter has them where nobody says.

Every row belongs to a user of the database: CREATOR, whom Neuronpedia's own converter names where nobody else is. Ids
follow from the weights, so importing twice adds nothing.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from saelab.atomic import write_bytes
from saelab.contracts import Progress
from saelab.features import Label
from saelab.interop.feature_data import Described, FeatureFormat, Source, identifier, short, shorts
from saelab.interop.saedashboard import TABLES, Placed, feature, placed

CREATOR = "clkht01d40000jv08hvalcvly"
CREATOR_NAME = "made with saelab"
Row = dict[str, Any]


def write(sources: Sequence[Source], folder: Path, progress: Progress) -> list[str]:
    for source in sources:
        place = folder / identifier(source.model) / source_id(source)
        for name, row in about(source).items():
            write_bytes(place / f"{name}.jsonl", _lines([row]))
        for number, page in enumerate(source.pages(progress)):
            for table, rows in tables(source, page).items():
                if rows:
                    packed = gzip.compress(_lines(rows), 5, mtime=0)  # the same bytes every time
                    write_bytes(place / table / f"batch-{number}.jsonl.gz", packed)
    return [
        "examples are windows around their peak, not whole prompts",
        f"rows belong to {CREATOR}, the user that Neuronpedia's own converter names, and model.jsonl says layers 0",
    ]


def source_id(source: Source) -> str:
    """What Neuronpedia calls a layer: its number and the name of the set."""
    return f"{source.layer}-{identifier(source.name)}"


def about(source: Source) -> dict[str, Row]:
    """The rows that features refer to, by the file each is alone in."""
    model, name, facts = identifier(source.model), identifier(source.name), source.facts
    what = f"{facts['sae']['architecture']}, {facts['features']:,} features, {facts['site']}"
    release = f"{model}-{name}"
    owned: Row = {"creatorId": CREATOR, "visibility": "PUBLIC"}
    return {
        "release": owned | {"name": release, "description": what, "creatorName": CREATOR_NAME, "urls": []},
        "model": owned
        | {"id": model, "displayName": source.model, "displayNameShort": model, "tlensId": source.model}
        | {"owner": "", "layers": 0, "neuronsPerLayer": 0},
        "sourceset": owned
        | {"modelId": model, "name": name, "description": what, "creatorName": CREATOR_NAME}
        | {"urls": [], "releaseName": release},
        "source": owned
        | {"id": source_id(source), "modelId": model, "setName": name, "hasDashboards": True}
        | {"notes": f"Densities are shares of {source.tokens:,} counted tokens."},
    }


def tables(source: Source, page: Sequence[Described]) -> dict[str, list[Row]]:
    """The rows of a page of features, by folder."""
    of = {"modelId": identifier(source.model), "layer": source_id(source)}
    found: dict[str, list[Row]] = {"features": [], "activations": [], "explanations": []}
    for one in page:
        number = {**of, "index": str(one.card.feature)}
        found["features"].append(number | neuron(one, source))
        for i, each in enumerate(placed(one, source.tokens)):
            row_id = identity(source, one.card.feature, "activation", i)
            found["activations"].append({"id": row_id, **number, **activation(each)})
        if one.card.label is not None:
            row_id = identity(source, one.card.feature, "explanation", one.card.label.text)
            found["explanations"].append({"id": row_id, **number, **explanation(one.card.label)})
    return found


def neuron(one: Described, source: Source) -> Row:
    """The feature as a row of Neuron, but for its key."""
    plain = feature(one, source.tokens)
    near = [near.feature for near in one.card.neighbours]
    return {
        "creatorId": CREATOR,
        "sourceSetName": identifier(source.name),
        "maxActApprox": short(one.card.stats.max),
        "hasVector": False,
        "hookName": source.facts["site_out"],
        "topkCosSimIndices": [one.card.feature, *near],
        "topkCosSimValues": [1.0, *(short(near.cosine) for near in one.card.neighbours)],
        **{name: value for name, value in plain.items() if name not in ("feature_index", *TABLES)},
    }


def activation(one: Placed) -> Row:
    """An example as a row of Activation, but for its keys."""
    acts = shorts(one.example.activations)
    return {
        "creatorId": CREATOR,
        "dataSource": one.example.document,
        "dataIndex": str(one.example.doc),
        "tokens": list(one.example.tokens or ()),
        "values": acts,
        "maxValue": max(acts),
        "maxValueTokenIndex": acts.index(max(acts)),
        "minValue": min(acts),
        "qualifyingTokenIndex": one.example.peak,
        "binMin": one.low,
        "binMax": one.high,
        "binContains": one.share,
    }


def explanation(label: Label) -> Row:
    """A label as a row of Explanation, but for its keys; how well it holds stands in its notes."""
    figures = {"F1": label.f1, "precision": label.precision, "recall": label.recall}
    told = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    made = {None: [], "own": ["written by a person"]}.get(label.kind, [f"found by a rule ({label.kind})"])
    return {"authorId": CREATOR, "description": label.text, "notes": "; ".join([*made, *told]) or None}


def identity(source: Source, *parts: object) -> str:
    """25 characters that are the same for the same SAE, feature and example."""
    named = json.dumps([source.facts["weights"], source_id(source), *map(str, parts)])
    return "c" + hashlib.sha256(named.encode()).hexdigest()[:24]


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


FORMAT = FeatureFormat("MODEL/LAYER-NAME/: .jsonl and .jsonl.gz, as Neuronpedia imports a source", write, several=True)
