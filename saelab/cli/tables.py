"""The tables of README.md, made from the registries: `python -m saelab.cli.tables README.md` renews them."""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from saelab.cli import VERBS


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *[list(row) for row in rows]]
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


def first_line(thing: object) -> str:
    """The first sentence of the module that `thing` is or is defined in."""
    module = thing if isinstance(thing, ModuleType) else sys.modules[thing.__module__]
    return (module.__doc__ or "").strip().splitlines()[0]


TABLES: dict[str, Callable[[], str]] = {
    "verbs": verbs,
    "variants": variants,
    "evaluations": evaluations,
    "corpora": corpora,
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
