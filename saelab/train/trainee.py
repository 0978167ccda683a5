"""One SAE in training: what a step does, and what must be kept so that the next one can be done another day."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from saelab.contracts import Batch, Progress, Silent
from saelab.errors import Diverged
from saelab.kernels.backend import backend
from saelab.process import reseed
from saelab.sae import MODELS, SAE
from saelab.train.end_to_end import Contexts, end_to_end_terms
from saelab.train.evaluate import Figures, evaluate
from saelab.train.memory import Pieces
from saelab.train.metrics_log import MetricsLog
from saelab.train.normalise import Normalisation
from saelab.train.optimise import Optimiser
from saelab.train.plans import Plan
from saelab.train.schedule import annealed_k, keeping, learning_rate
from saelab.train.state import read_state, write_state


class Trainee:
    """Weights, optimiser, dead counters and the number of the next step.

    Every step begins by seeding torch from (seed, step), so random numbers need no state, and an SAE trains the
    same alone, beside others, and after an interruption.
    """

    def __init__(self, plan: Plan, normalisation: Normalisation, progress: Progress | None = None) -> None:
        self.plan, self.cfg, self.normalisation = plan, plan.train, normalisation
        self.steps, self.step, self._saved = plan.train.steps, 0, -1
        torch.manual_seed(self.cfg.seed)
        self.sae: SAE = MODELS[plan.sae.variant](plan.sae).to(self.cfg.device)
        self.sae.total_steps, self.sae.dead_after = self.steps, int(self.cfg.dead_after or 0)
        self.sae.products = torch.bfloat16 if self.cfg.precision == "bf16" else None
        self.optimiser = Optimiser(self.sae, self.cfg)
        self.log = MetricsLog(plan.folder / "metrics.jsonl")
        self._sound = torch.ones((), dtype=torch.bool, device=self.cfg.device)
        apart = self.sae.rows_apart and self.cfg.end_to_end is None  # rows of contexts meet again in the model
        self._pieces = Pieces(plan.name, self.sae, apart, (progress or Silent()).note)

    @property
    def finished(self) -> bool:
        return self.step >= self.steps

    @property
    def rows(self) -> int:
        return self.step * self.cfg.batch

    def take(self, batch: Batch, contexts: Contexts | None = None) -> float | None:
        """One step on normalised rows; the loss where it is written to metrics.jsonl, which also checks it."""
        if self.step == 0 and self.log.empty:
            path = {"kernels": backend(next(self.sae.parameters())), "update": self.optimiser.path}
            self.log.write({"step": self.step, "rows": self.rows, **path})
        loss, terms = self.descend(batch, contexts)
        self._sound &= loss.isfinite()
        if self.step % self.plan.cfg.log_every and not self.finished:
            return None
        return self._log(loss.item(), terms)

    def descend(self, batch: Batch, contexts: Contexts | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the optimiser: the loss and its terms before it. `contexts`: what the batch stands in."""
        terms = self._pieces.gradients(batch, partial(self._backward, contexts), self.optimiser.forget)
        self.optimiser.step(self._rate(), self.step)
        self.step += 1
        return torch.stack(list(terms.values())).sum(), terms

    def _backward(self, contexts: Contexts | None, pieces: Sequence[tuple[Batch, float]]) -> dict[str, Tensor]:
        """Gradients of the loss on the pieces of a batch, each with its share of the rows; the terms of the whole."""
        reseed(self.cfg.seed * 1_000_003 + self.step + 1, self.cfg.device)
        found: dict[str, Tensor] = {}
        with self.optimiser.gradients(), keeping(self.sae, self._k()):
            for piece, share in pieces:
                terms = self._terms(piece, contexts)
                (share * torch.stack(list(terms.values())).sum()).backward()
                found = {name: found.get(name, 0) + share * term.detach() for name, term in terms.items()}
        return found

    def _terms(self, batch: Batch, contexts: Contexts | None) -> dict[str, Tensor]:
        terms = self.sae.loss_terms(batch, self.step)
        if self.cfg.end_to_end is None:
            return terms
        assert contexts is not None
        return end_to_end_terms(terms, self.sae, batch, contexts, self.normalisation, self.cfg.end_to_end)

    def _rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(float(self.cfg.lr or 0), self.step, self.steps, self.cfg.warmup, self.cfg.decay)

    def _k(self) -> int | None:
        """Features the next step keeps, where their number changes over the run."""
        first, k = self.cfg.anneal_k_from, getattr(self.plan.sae, "k", 0)
        return None if first is None else annealed_k(first, k, self.step, self.steps, self.cfg.anneal_share)

    def _log(self, loss: float, terms: dict[str, Tensor]) -> float:
        self.check()
        values = {name: term.item() for name, term in terms.items()}
        rate = self.optimiser.adam.param_groups[0]["lr"]
        self.log.write({"step": self.step, "rows": self.rows, "loss": loss, **values, "lr": rate})
        return loss

    def check(self, weights: bool = False) -> None:
        """Raise Diverged when a loss since the start, or with `weights` one of these, is not finite.

        A gradient can overflow while the loss is still a number: what is written to disk looks at the weights.
        """
        sound = self._sound
        if weights:
            sound = torch.stack([sound, *(p.isfinite().all() for p in self.sae.parameters())]).all()
        if bool(sound):
            return
        raise Diverged(
            f"{self.plan.name}: the loss is no longer a number, at step {self.step} of {self.steps}.\n"
            f"  last save: {self.plan.folder / 'state'}, untouched\n"
            f"  fix:       delete {self.plan.folder} and train with a lower train.lr (it was {self.cfg.lr:.3g})"
        )

    def dead_in_training(self) -> float:
        """Share of features that did not fire on the last `dead_after` training rows."""
        return (self.sae.tokens_since_fired >= (self.cfg.dead_after or 0)).double().mean().item()

    def folded(self) -> SAE:
        """The SAE as it reads and writes raw units."""
        return self.sae.fold(self.normalisation)

    def look(self, x: Tensor, y: Tensor, places: Mapping[str, slice] | None = None) -> Figures:
        """Figures on held-out rows in raw units, also written to metrics.jsonl."""
        self.check(weights=True)
        figures = evaluate(self.folded(), x, y, self.cfg.batch, places)
        heldout = {**asdict(figures), "dead_in_training": self.dead_in_training()}
        self.log.write({"step": self.step, "rows": self.rows, "heldout": heldout})
        return figures

    def save(self) -> None:
        """Keep everything that going on needs, after making sure that it is worth keeping."""
        if self._saved == self.step:
            return
        self.check(weights=True)
        self.log.sync()
        write_state(self.plan.folder / "state", self._tensors(), self.step, {"rows": self.rows})
        self._saved = self.step

    def resume(self) -> None:
        """Go on from the last save, if there is one."""
        saved = read_state(self.plan.folder / "state")
        self.step = saved[1]["step"] if saved else 0
        self.log.truncate(self.step)
        if saved is None:
            return
        self._saved = self.step
        with torch.no_grad():
            for name, tensor in self._sae_tensors().items():
                tensor.copy_(saved[0][f"sae.{name}"])
        for name, parameter in self.sae.named_parameters():
            if f"adam.{name}.step" in saved[0]:
                self.optimiser.adam.state[parameter] = _adam_state(parameter, saved[0], f"adam.{name}.")

    def _sae_tensors(self) -> dict[str, Tensor]:
        return {**dict(self.sae.named_parameters()), **dict(self.sae.named_buffers())}

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"sae.{name}": tensor for name, tensor in self._sae_tensors().items()}
        for name, parameter in self.sae.named_parameters():
            for key, value in self.optimiser.adam.state[parameter].items():
                tensors[f"adam.{name}.{key}"] = value
        return tensors


def _adam_state(parameter: Tensor, saved: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Adam's state of one parameter. The moments take the parameter's strides: the fused step goes by memory order."""
    moments = {
        key: torch.empty_like(parameter).detach().copy_(saved[prefix + key]) for key in ("exp_avg", "exp_avg_sq")
    }
    return {"step": saved[prefix + "step"].to(parameter.device), **moments}
