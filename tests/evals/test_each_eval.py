"""What holds for every evaluation there is (the registry's laws)."""

import copy
import json

import pytest

from saelab.errors import EvalError
from saelab.evals import EVALS, SHORT, Subject
from saelab.evals.subject import NEEDS

pytestmark = pytest.mark.parametrize("name", EVALS)


def test_it_says_what_it_is_what_it_needs_and_where_it_comes_from(name):
    each = EVALS[name]
    assert each.__doc__.splitlines()[0].lower().startswith(name.split("_")[0][:3]), "the table shows the first line"
    assert each.NEEDS and set(each.NEEDS) <= set(NEEDS)
    assert len(each.SOURCE) > 10
    assert each.METRICS and all(text for text in each.METRICS.values())


def test_its_settings_have_defaults_that_say_what_they_are(name):
    config = EVALS[name].Config
    config()
    assert all(field.description for field in config.model_fields.values())
    with pytest.raises(ValueError, match="extra"):
        config.model_validate({"no_such_setting": 1})


def test_the_short_list_is_of_evaluations(name):
    assert set(SHORT) <= set(EVALS)


def test_it_measures_or_says_why_not(name, identity, lm, store):
    """Every figure is defined and a plain number; the same SAE has the same figures again."""
    first, again = (_figures(name, identity, lm, store) for _ in range(2))
    assert first == again
    for figure in first if isinstance(first, list) else []:
        assert figure.metric in EVALS[name].METRICS
        assert figure.value is None or isinstance(figure.value, int | float)
        assert figure.n > 0
    if isinstance(first, str):
        assert "\n" not in first.splitlines()[0] and len(first) > 15


SMALL = {"tokens": 400, "positives": 5, "least": 5, "words": 200, "rows": 64, "texts": False, "train": 50}


def _figures(name, sae, lm, store):
    each = EVALS[name]
    small = {key: value for key, value in SMALL.items() if key in each.Config.model_fields}
    subject = Subject.of(sae, lm, store)
    subject.others = [("other", copy.deepcopy(sae))]
    try:
        result = each.run(subject, each.Config.model_validate(small))
    except EvalError as error:
        return str(error)
    columns, rows = result.table()
    assert rows and all(len(row) == len(columns) for row in rows)
    assert result.summary() and all(isinstance(line, str) for line in result.summary())
    json.dumps(result.to_json(), allow_nan=False)
    return result.figures()
