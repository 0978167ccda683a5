"""The tables of README.md, made from the registries and from what was measured last.

`python -m saelab.cli.tables README.md` renews them.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType
from typing import Any

from saelab.cli import VERBS

DATA = Path(__file__).resolve().parents[2] / "data"  # of a checkout: README.md is nowhere else


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; a bar in a cell stays a bar."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def verbs() -> str:
    """Every command of the command line."""
    return markdown(["command", "what it does"], [[f"`saelab {name}`", text] for name, text in VERBS.items()])


def variants() -> str:
    """Every SAE architecture that can be trained, by its module's first line."""
    from saelab.sae import VARIANTS

    rows = [[f"`{name}`", first_line(kind)] for name, kind in VARIANTS.items()]
    return markdown(["`sae.variant`", "architecture"], rows)


def evaluations() -> str:
    """Every evaluation of `saelab eval`."""
    from saelab.evals import EVALS

    return markdown(["`--only`", "what it measures"], [[f"`{name}`", first_line(each)] for name, each in EVALS.items()])


def corpora() -> str:
    """Every kind of text that can be harvested."""
    from saelab.corpora import CORPORA

    return markdown(["`corpus.kind`", "text"], [[f"`{name}`", first_line(kind)] for name, kind in CORPORA.items()])


def proofs() -> str:
    """What `saelab prove` last measured, and why what does not hold does not."""
    rows = json.loads((DATA / "proofs.json").read_text(encoding="utf-8"))["rows"]
    columns = ["claim", "bed", "what is measured", "target", "measured, mean of seeds", "seeds", "holds"]
    notes = [f"- `{row['name']}`: {row['note']}" for row in rows if row["note"] and not row["pass"]]
    table = markdown(
        columns,
        [
            [f"`{row['name']}`", row["bed"], row["says"], row["target"], _with_spread(row), str(row["seeds"]),
             "yes" if row["pass"] else "**no**"]
            for row in rows
        ],
    )  # fmt: skip
    return "\n".join([table, *(["", *notes] if notes else [])])


def _with_spread(row: Mapping[str, Any]) -> str:
    return f"{row['measured']:.3g}" + (f" ± {row['spread']:.2g}" if row["spread"] is not None else "")


def speed() -> str:
    """What `saelab bench train` last measured of each architecture on a CPU, beside its peers."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "bench").glob("*-cpu.json"))]
    rows = []
    for bench in found:
        floor = next(row["ms_per_step"] for row in bench["rows"] if row["library"] == "gemm")
        for row in bench["rows"]:
            rows.append([
                bench["date"][:10], row["variant"], f"{row['library']}, {row['setting']}", f"{row['ms_per_step']:.0f}",
                f"{row['ms_per_step'] / floor:.2f}", f"{row['times_saelab']:.2f}",
                "–" if row["ms_with_dead"] is None else f"{row['ms_with_dead']:.0f}", f"{row['peak_bytes'] / 1e6:.0f}",
                "–" if row["fvu"] is None else f"{row['fvu']:.4f}",
            ])  # fmt: skip
    columns = ["date", "variant", "library, setting", "ms a step", "x product", "x saelab", "with dead", "MB", "FVU"]
    return markdown(columns, rows)


def steps() -> str:
    """What `saelab bench variants` last found."""
    rows = [
        [f"`{one['variant']}`", f"{one['l0']:.1f}", f"{one['ms_per_step']:.0f}", f"{one['times_topk']:.2f}"]
        for one in _steps()
    ]
    return markdown(["variant", "L0", "ms a step", "x topk"], rows)


def _steps() -> list[dict[str, Any]]:
    return json.loads(latest("variants").read_text(encoding="utf-8"))["rows"]  # type: ignore[no-any-return]


def frontier() -> str:
    """What `saelab compare` last found of every variant: a line each, a value per sparsity that was asked for."""
    rows = json.loads(latest("frontier").read_text(encoding="utf-8"))["rows"]
    times = {one["variant"]: one["times_topk"] for one in _steps()}
    asked: dict[str, dict[int, list[Any]]] = {}
    for row in rows:
        level = row["settings"].get("target_l0") or row["settings"].get("k") or 0  # 0: finds its sparsity itself
        asked.setdefault(row["variant"], {}).setdefault(level, []).append(row)
    lines = []
    for variant in sorted(asked, key=lambda name: _mean(asked[name][max(asked[name])], "fvu")):
        levels = [asked[variant][level] for level in sorted(asked[variant])]
        lines.append([
            f"`{variant}`", _each(levels, "l0", ".1f"), _each(levels, "fvu", ".3f", spread=True),
            _each(levels, "ce_recovered", ".3f", spread=True), _each(levels, "dead_share", ".3f"),
            " · ".join(f"{mean(row['labels'] for row in level):.1f}" for level in levels), f"{times[variant]:.2f}",
        ])  # fmt: skip
    columns = ["variant", "L0", "FVU", "CE recovered", "dead share", "labels", "step, x topk"]
    return markdown(columns, lines)


def _each(levels: list[list[Any]], figure: str, digits: str, *, spread: bool = False) -> str:
    """Means over seeds, one per level; `spread`: and the largest standard deviation of them."""
    means = " · ".join(f"{_mean(level, figure):{digits}}" for level in levels)
    return means + (f" ± {max(_deviation(level, figure) for level in levels):{digits}}" if spread else "")


def _mean(rows: list[Any], figure: str) -> float:
    return mean(row["figures"][figure] for row in rows)


def _deviation(rows: list[Any], figure: str) -> float:
    return stdev(row["figures"][figure] for row in rows)


def quality() -> str:
    """What `saelab bench quality` last found: a line per library, as it comes and at its best rate, a column per k."""
    levels = json.loads(latest("quality").read_text(encoding="utf-8"))["levels"]
    ks = sorted({one["k"] for one in levels})
    lines = []
    for variant, library in dict.fromkeys((one["variant"], one["library"]) for one in levels):
        at = {k: [one for one in levels if (one["variant"], one["library"], one["k"]) == (variant, library, k)]
              for k in ks}  # fmt: skip
        own = [next(one for one in at[k] if one["rate"] == 1) for k in ks]
        best = [min(at[k], key=lambda one: one["fvu"]) for k in ks]
        lines.append([f"`{variant}`", f"{library}, as it comes", *map(_level, own)])
        if library != "saelab":
            lines.append([f"`{variant}`", f"{library}, best of three rates", *map(_level, best)])
    return markdown(["variant", "library", *(f"FVU at k = {k}" for k in ks)], lines)


def _level(one: Mapping[str, Any]) -> str:
    spread = f" ± {one['spread']:.4f}" if one["spread"] is not None else ""
    return f"{one['fvu']:.4f}{spread} (L0 {one['l0']:.1f})"


def interop() -> str:
    """What is imported and exported, and who has checked it."""
    rows = json.loads((DATA / "interop.json").read_text(encoding="utf-8"))["rows"]
    read = [row for row in rows if row["direction"] == "import"]
    lines = []
    for name in dict.fromkeys(row["format"] for row in read):
        mine = [row for row in read if row["format"] == name]
        apart = max((row["apart"] for row in mine if row.get("apart") is not None), default=None)
        kinds = ", ".join(dict.fromkeys(row["kind"] for row in mine))
        forms = ", ".join(dict.fromkeys(row["form"] for row in mine if row["form"])) or "–"
        difference = "≤ 1e-5" if apart is None else f"{apart:.1e}"
        lines.append([f"`{name}`", kinds, forms, mine[0]["checked"], difference])
    columns = ["`import --format`", "kinds", "also as", "checked against", "largest difference"]
    exports = _exports([row for row in rows if row["direction"] == "export"])
    return "\n\n".join([markdown(columns, lines), exports, _feature_data()])


def _exports(rows: list[dict[str, Any]]) -> str:
    """A line per variant: what each format calls it, as an autoencoder and as a transcoder."""
    formats = list(dict.fromkeys(row["format"] for row in rows))
    named = {(row["kind"], row["form"], row["format"]): row["as"] for row in rows}
    lines = []
    for variant in dict.fromkeys(row["kind"] for row in rows):
        cells = [[named.get((variant, form, name)) for form in ("", "transcoder")] for name in formats]
        lines.append([f"`{variant}`", *(" · ".join(f"{one}" for one in pair if one) or "–" for pair in cells)])
    return markdown(["`sae.variant`", *(f"`export --format {name}`" for name in formats)], lines)


def _feature_data() -> str:
    """The formats of what an index knows of features."""
    from saelab.interop import FEATURE_FORMATS

    rows = [[f"`{name}`", each.holds, "several" if each.several else "one"] for name, each in FEATURE_FORMATS.items()]
    return markdown(["`export --format`, of features", "files", "SAEs in a folder"], rows)


def latest(what: str) -> Path:
    """The newest JSON of one benchmark: their names begin with the date."""
    return max((DATA / "bench").glob(f"*-{what}.json"))


def first_line(thing: object) -> str:
    """The first sentence of the module that `thing` is or is defined in."""
    module = thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__]
    return (module.__doc__ or "").strip().splitlines()[0]


TABLES: dict[str, Callable[[], str]] = {
    "verbs": verbs,
    "variants": variants,
    "evaluations": evaluations,
    "corpora": corpora,
    "proofs": proofs,
    "speed": speed,
    "steps": steps,
    "frontier": frontier,
    "quality": quality,
    "interop": interop,
}


def renewed(text: str) -> str:
    """`text` with every `<!-- table: NAME -->` … `<!-- end -->` block made anew."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)",
        lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[3]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    readme.write_text(renewed(readme.read_text(encoding="utf-8")), encoding="utf-8")
