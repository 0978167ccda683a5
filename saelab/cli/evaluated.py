"""The tables of `saelab eval`: the registry, the definitions, and every figure of every checkpoint."""

from collections.abc import Sequence
from typing import Any

from saelab.cli.evaluate import Measured
from saelab.cli.tables import first_line
from saelab.evals import EVALS
from saelab.evals.compare import distinct_names

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def registry() -> Table:
    """Every evaluation."""
    columns = ("evaluation", "what it measures", "needs", "source")
    return columns, [(name, first_line(each), ", ".join(each.NEEDS), each.SOURCE) for name, each in EVALS.items()]


def definitions(names: Sequence[str] = ()) -> Table:
    """Every metric of some evaluations, or of all."""
    rows = [
        (n, metric, text)
        for n, each in EVALS.items()
        if not names or n in names
        for metric, text in each.METRICS.items()
    ]
    return ("evaluation", "metric", "what it is"), rows


def all_rows(measured: Sequence[Measured], define: bool) -> Table:
    """One row per evaluation and metric, one column per checkpoint."""
    names = distinct_names([one.checkpoint for one in measured])
    values = {(row.eval, row.metric, i): row.value for i, one in enumerate(measured) for row in one.rows}
    n = {(row.eval, row.metric): row.n for one in measured for row in one.rows}
    columns = ("evaluation", "metric", *names, "n", *(("what it is",) if define else ()))
    return columns, [
        (
            name,
            metric,
            *(values.get((name, metric, i)) for i in range(len(names))),
            n[name, metric],
            *((text,) if define else ()),
        )
        for name, each in EVALS.items()
        for metric, text in each.METRICS.items()
        if (name, metric) in n
    ]


def as_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """{checkpoint: {evaluation: its figures}}; beside them the rows, and why evaluations were left out."""
    found = {str(one.checkpoint): one.to_json() for one in measured}
    rows = [vars(row) for one in measured for row in one.rows]
    return {**found, "rows": rows, "skipped": {str(one.checkpoint): one.skipped for one in measured}}
