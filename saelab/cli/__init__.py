"""The command line. This file imports nothing heavy, so that `saelab --help` answers at once."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from keyword import iskeyword
from pathlib import Path
from typing import NoReturn

import click

from saelab.atomic import as_disk_full
from saelab.errors import Interrupted, SaelabError
from saelab.kernels.backend import KernelError

# The verbs in the order of the work, each in the module of its name. The lines are what `saelab --help` shows.
VERBS: dict[str, str] = {
    "demo": "The whole way on the bundled model: text, SAE, features, figures. Offline, minutes on two cores.",
    "harvest": "Run a language model over text and keep its activations in a store.",
    "synth": "Write a store of rows whose true features are known.",
    "train": "Train one or many SAEs on a store, in one pass over its rows.",
    "index": "Find out what every feature of an SAE fires on and what it writes.",
    "label": "Say in words what each feature fires on, and how well that holds on other documents.",
    "explain": "Ask a language model of your own what features stand for, and score what it says.",
    "app": "Browse, steer and ablate in the browser.",
    "atlas": "Features that pass a filter, as the app's atlas shows them.",
    "show": "One feature's card in the terminal.",
    "search": "Which features fire on a text or a token, promote a token, or are called so.",
    "contrast": "Which features fire more in one set of texts than in another.",
    "note": "Write down what you think of a feature.",
    "steer": "Generate with features turned up or down, beside the unsteered text.",
    "ablate": "What taking features away does to logits and loss.",
    "attribute": "Which features a prediction comes from, by gradient and by ablation.",
    "eval": "Measure checkpoints on held-out documents.",
    "compare": "Several checkpoints on the same tokens: one table, and the frontier of error against sparsity.",
    "drift": "Two checkpoints feature by feature: what turned, was born, died, fires elsewhere.",
    "prove": "What the variants' papers claim, measured on rows whose true features are known.",
    "sql": "Read-only SQL over a store, an index, or evaluations' results.",
    "import": "Make checkpoints of other libraries' SAEs: SAELens, sparsify, dictionary_learning, Gemma Scope, …",
    "export": "Write checkpoints, or what is known of their features, as other libraries' files.",
    "verify": "Check every file of an artefact against its checksum.",
    "doctor": "What is installed, which paths will be used, and why.",
    "bench": "What this machine does, beside its own ceilings.",
    "pretrain": "Train a small language model from text, as the bundled one was.",
}


class Verbs(click.Group):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        return import_module(f"saelab.cli.{module}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="saelab")
def cli() -> None:
    """Train sparse autoencoders on a language model's activations; browse, steer, ablate and measure what they learn.

    \b
    Begin with:  saelab demo
                 saelab app runs/demo
    """


def main() -> None:
    """Run the command line: a mistake that a person can mend is one message and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # one progress bar at a time: ours
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    _spell_out()
    try:
        _require_text(sys.argv[1:])
        cli()
    except Interrupted as stop:
        click.echo(str(stop), err=True)
        sys.exit(stop.exit_code)
    except (SaelabError, KernelError) as error:
        _refuse(str(error))
    except OSError as error:  # where a file is appended to, say
        told = as_disk_full(error, Path(error.filename or "a file"))
        if told is error:
            raise
        _refuse(str(told))


def _spell_out() -> None:
    """Print what the terminal has no character for as \\u and its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _require_text(arguments: Sequence[str]) -> None:
    """Raise SaelabError for bytes that are no text in the terminal's encoding, which Python hands on as surrogates."""
    for one in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in one):
            raise SaelabError(
                f"the argument {one!r} is no text in {sys.getfilesystemencoding()}, the encoding of this terminal.\n"
                "  fix:   set LC_ALL=C.UTF-8"
            )


def _refuse(why: str) -> NoReturn:
    click.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(why, err=True)
    sys.exit(2)
