"""The training loop: AdamW, cosine, bf16 autocast; stops and goes on at any step with the same result."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from saelab.errors import ConfigError, CorpusError
from saelab.pretrain.config import OptimiserConfig, PretrainConfig
from saelab.pretrain.windows import epoch_batches


def build_model(cfg: PretrainConfig, bos: int) -> GPT2LMHeadModel:
    """A GPT-2 with random weights of the configured size; no dropout (few passes over the data).

    GPT-2's own activation under the name that has a fused kernel: as "gelu_new" the same function is eight
    elementwise passes. Up to pico's third block a forward pass ran 1.12 times as fast with it (two cores, 2026-11-22).
    """
    torch.manual_seed(cfg.train.seed)
    no_dropout: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    shape: dict[str, Any] = {**cfg.model.model_dump(), **no_dropout, "activation_function": "gelu_pytorch_tanh"}
    return GPT2LMHeadModel(GPT2Config(vocab_size=cfg.vocab_size, bos_token_id=bos, eos_token_id=bos, **shape))


def learning_rate(cfg: OptimiserConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    progress = (step - cfg.warmup) / max(1, steps - cfg.warmup)
    return cfg.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def backward(model: GPT2LMHeadModel, ids: Tensor, labels: Tensor, rows: int = 2) -> Tensor:
    """Mean cross-entropy of the next token, its gradient left in `.grad` of every parameter.

    The unembedding runs on `rows` contexts at a time, forward and backward, so that the logits
    [contexts, tokens, vocab] never exist whole: on a CPU they would leave the cache and cost a quarter of the step.
    """
    targets = nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    counted = (targets != -100).sum()
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = model.transformer(input_ids=ids).last_hidden_state
    leaf = hidden.detach().requires_grad_()
    total = torch.zeros((), device=ids.device)
    for some, wanted in zip(leaf.split(rows), targets.split(rows), strict=True):
        with torch.autocast(ids.device.type, torch.bfloat16):
            logits = model.lm_head(some).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits.float(), wanted.flatten(), reduction="sum") / counted
        loss.backward()
        total += loss.detach()
    hidden.backward(leaf.grad)
    return total


class Training:
    """One run: model, optimiser and the number of the next step."""

    def __init__(self, cfg: PretrainConfig, documents: Sequence[Tensor], bos: int, device: torch.device) -> None:
        self.cfg, self.documents, self.bos, self.device = cfg, documents, bos, device
        self.model = build_model(cfg, bos)
        nn.Module.to(self.model, device)
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        plain = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": cfg.train.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=cfg.train.lr, betas=(0.9, cfg.train.beta2), fused=True)
        self.steps = max(1, cfg.train.tokens // (cfg.train.batch * cfg.model.n_positions))
        self.step = 0
        self.state = cfg.out / "state"

    def run(self) -> Iterator[float]:
        """Train to the end, yielding the loss (nats per token) of every step; saves as it goes."""
        self.model.train()
        saved = time.monotonic()
        for ids, labels in self._batches():
            loss = self._step(ids.to(self.device), labels.to(self.device))
            self.step += 1
            if time.monotonic() - saved > 60 * self.cfg.save_minutes or self.step == self.steps:
                self.save()
                saved = time.monotonic()
            yield loss

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from step `self.step` on. Epochs differ in length, so the skipped ones are counted, not computed."""
        seen, epoch, shape = 0, 0, self.cfg.model
        while self.step < self.steps:
            source = epoch_batches(
                self.documents, self.bos, shape.n_positions, self.cfg.train.batch, self.cfg.train.seed, epoch
            )
            before = seen
            for batch in source:
                seen += 1
                if seen > self.step:
                    yield batch
                if self.step == self.steps:
                    return
            if seen == before:
                raise CorpusError(
                    f"the corpus holds fewer than train.batch = {self.cfg.train.batch} contexts: "
                    "give more text, or lower train.batch."
                )
            epoch += 1

    def _step(self, ids: Tensor, labels: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.cfg.train, self.step, self.steps)
        loss = backward(self.model, ids, labels)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.train.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return loss.item()

    def save(self) -> None:
        """Write the state aside, then put it in place: a kill leaves the old one or the new one."""
        self.state.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": p.detach().contiguous() for name, p in self.model.named_parameters()}
        for i, p in enumerate(self.model.parameters()):
            for key, value in self.optimiser.state[p].items():
                tensors[f"optimiser.{i}.{key}"] = value.contiguous()
        aside = self.state / "state.safetensors.tmp"
        save_file(tensors, aside, metadata={"position": json.dumps({"step": self.step, "settings": self._identity()})})
        aside.replace(self.state / "state.safetensors")

    def resume(self) -> None:
        """Go on from a saved state when there is one that the same settings wrote."""
        path = self.state / "state.safetensors"
        if not path.is_file():
            return
        position = _position(path)
        if position["settings"] != self._identity():
            raise ConfigError(
                f"{path} was written by other settings: choose another `out`, or delete it to start anew."
            )
        tensors = load_file(path, device=str(self.device))
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(tensors[f"model.{name}"])
        for i, p in enumerate(self.model.parameters()):
            keys = ("step", "exp_avg", "exp_avg_sq")
            self.optimiser.state[p] = {key: tensors[f"optimiser.{i}.{key}"] for key in keys}
        self.step = position["step"]

    def _identity(self) -> dict[str, object]:
        return self.cfg.model_dump(mode="json", exclude={"out", "save_minutes"})


def _position(path: Path) -> dict[str, Any]:
    """What the state file says of itself: the next step, and the settings it belongs to."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["position"])
