"""Several SAEs on the same tokens."""

import copy
import json
from types import SimpleNamespace

import pytest

from saelab.errors import EvalError
from saelab.evals import EVALS
from saelab.evals.compare import compare, distinct_names
from saelab.evals.frontier import families, figure, write_frontier


@pytest.fixture
def two(identity, tmp_path):
    """Checkpoints of an SAE that gives its input back and of one that gives nothing."""
    nothing = copy.deepcopy(identity)
    nothing.W_dec.data.zero_()
    paths = [tmp_path / "sae" / "identity", tmp_path / "sae" / "zero"]
    for sae, path in zip((identity, nothing), paths, strict=True):
        sae.save(path)
    return paths


@pytest.fixture
def found(two, lm, store):
    return compare(two, lm, store, tokens=150)


def test_the_figures_are_those_of_fidelity(found, two, identity, lm, store):
    fidelity = EVALS["fidelity"]
    alone = fidelity.measure(identity, lm, store, fidelity.Config.model_validate({"tokens": 150}))
    assert found.rows[0].figures == alone
    columns, rows = found.table()
    assert [row[0] for row in rows] == ["identity", "zero"]
    recovered = [row[columns.index("CE recovered")] for row in rows]
    assert recovered == pytest.approx([1, 0], abs=1e-4)


def test_saes_of_other_sites_are_measured_as_each_alone(identity, lm, store):
    fidelity, syntax = EVALS["fidelity"], EVALS["syntax"]
    first = copy.deepcopy(identity)
    first.metadata = {"hook_name": "blocks.0.hook_resid_post"}
    cut = copy.deepcopy(identity)
    cut.W_dec.data[:32].zero_()
    saes, cfg, of_labels = [first, cut, identity], fidelity.Config(tokens=150), syntax.Config(tokens=400, positives=2)
    together = fidelity.measure_all(saes, lm, store, cfg)
    assert together == [fidelity.measure(sae, lm, store, cfg) for sae in saes]
    assert len({one.ce_zero for one in together}) == 2  # of the two sites
    labels = syntax.measure_all(saes, lm, store, of_labels)
    assert labels == [syntax.measure(sae, lm, store, of_labels) for sae in saes]
    assert len({one.labels for one in labels}) == 2  # one decoder alone is cut


def test_the_page_needs_nothing_else_and_names_everyone(found, tmp_path):
    write_frontier(found, tmp_path / "new" / "frontier.html")
    page = (tmp_path / "new" / "frontier.html").read_text()
    assert "Plotly.newPlot" in page and "https://cdn.plot.ly" not in page.split("<table>")[0]
    assert "<td>identity</td>" in page and "<td>zero</td>" in page
    assert json.loads(json.dumps(found.to_json()))["rows"][1]["figures"]["l0"] == found.rows[1].figures.l0


def test_saes_of_one_variant_and_size_are_joined_by_rising_l0(found):
    joined = families(found.rows)
    assert sorted(row.name for rows in joined.values() for row in rows) == ["identity", "zero"]
    for rows in joined.values():
        assert [row.figures.l0 for row in rows] == sorted(row.figures.l0 for row in rows)
    assert len(figure(found).data) == 2 * len(joined)


def test_saes_that_differ_in_their_seed_alone_are_averaged(found):
    columns, ((name, seeds, *figures),) = found.by_settings()
    assert (name, seeds) == ("", 2)  # "identity" and "zero" have the same settings, and begin with nothing in common
    fvus = [row.figures.fvu for row in found.rows]
    assert figures[columns[2:].index("FVU")] == pytest.approx(sum(fvus) / 2)
    assert figures[columns[2:].index("FVU") + 1] == pytest.approx(abs(fvus[0] - fvus[1]) / 2**0.5)


def test_labels_are_counted_where_they_are_asked_for(found, two, lm, store, monkeypatch):
    assert "labels" not in found.table()[0] and "labels" not in found.by_settings()[0]
    good = [SimpleNamespace(good=3), SimpleNamespace(good=8)]
    monkeypatch.setattr("saelab.evals.compare.syntax.measure_all", lambda *given: good)
    counted = compare(two, lm, store, tokens=150, labels=True)
    assert [row[counted.table()[0].index("labels")] for row in counted.table()[1]] == [3, 8]
    columns, (means,) = counted.by_settings()
    assert means[columns.index("labels")] == 5.5
    assert any("labels" in line for line in counted.notes())


def test_names_are_short_where_they_can_be(tmp_path):
    one, two, three = tmp_path / "a" / "sae" / "x", tmp_path / "b" / "sae" / "x", tmp_path / "b" / "sae" / "y"
    assert distinct_names([one, three]) == ["x", "y"]
    assert distinct_names([one, two]) == ["a/sae/x", "b/sae/x"]
    with pytest.raises(EvalError, match="named twice"):
        distinct_names([one, one])
