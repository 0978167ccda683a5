"""Names of the places in a model where activations are read and written, in every dialect that users bring.

    saelab, TransformerLens before 4      TransformerLens 4            sparsify (module paths)
    blocks.5.hook_resid_pre               blocks.5.hook_in
    blocks.5.hook_resid_mid               blocks.5.ln2.hook_in
    blocks.5.hook_resid_post              blocks.5.hook_out            layers.5   h.5
    blocks.5.attn.hook_in                 blocks.5.attn.hook_in
    blocks.5.hook_attn_out                blocks.5.attn.hook_out       layers.5.self_attn   h.5.attn
    blocks.5.attn.hook_z                  blocks.5.attn.o.hook_in
    blocks.5.mlp.hook_in                  blocks.5.mlp.hook_in
    blocks.5.hook_mlp_out                 blocks.5.mlp.hook_out        layers.5.mlp   h.5.mlp

The first column is canonical: stores, checkpoints and indexes hold these names only. What the MLP and the attention
read is taken after their norms, so that a transcoder replaces the MLP alone, and Lorsa the attention. The middle column
holds for models without norms behind attention and MLP; where a model has those (Gemma 2), the output is read behind
them: what the residual stream receives.
"""

import re
from collections.abc import Iterator, Sequence

from saelab.contracts import SITE_KINDS, canonical_site
from saelab.errors import SiteError

BRIDGE_HOOKS: dict[str, str] = {
    "resid_pre": "hook_in",
    "resid_mid": "ln2.hook_in",
    "resid_post": "hook_out",
    "attn_in": "attn.hook_in",
    "attn_out": "attn.hook_out",
    "attn_z": "attn.o.hook_in",
    "mlp_in": "mlp.hook_in",
    "mlp_out": "mlp.hook_out",
}
# What a transcoder, and what Lorsa, reads and reproduces.
PAIRS: dict[str, tuple[str, ...]] = {"mlp": ("mlp_in", "mlp_out"), "attn": ("attn_in", "attn_out")}
READ_ONLY: dict[str, str] = {"mlp_in": "the MLP", "attn_in": "the attention"}  # behind a norm: nothing is written there
MODULES: dict[str, str] = {
    "": "resid_post",
    "mlp": "mlp_out",
    "attn": "attn_out",
    "self_attn": "attn_out",
    "attention": "attn_out",
}
KIND_OF = {suffix: kind for kind, suffix in SITE_KINDS.items()}


def expand(patterns: Sequence[str], n_layers: int) -> tuple[str, ...]:
    """Canonical sites for names (`resid_post.2`), ranges (`resid_post.0-3`), `resid_post.*` and pairs (`mlp.2`).

    In the order given, each once. Raises SiteError, listing what exists, for anything a model of `n_layers`
    blocks does not have.
    """
    if not patterns:
        raise SiteError(f"No site was named. {available(n_layers)}")
    return tuple(dict.fromkeys(site for pattern in patterns for site in _expand(pattern, n_layers)))


def _expand(pattern: str, n_layers: int) -> Iterator[str]:
    short = re.fullmatch(r"(\w+)\.(\d+-\d+|\d+|\*)", pattern)
    full = re.fullmatch(r"blocks\.(\d+-\d+|\d+|\*)\.(.+)", pattern)
    if short and (short[1] in SITE_KINDS or short[1] in PAIRS):
        kinds, layers = PAIRS.get(short[1], (short[1],)), short[2]
    elif full and full[2] in KIND_OF:
        kinds, layers = (KIND_OF[full[2]],), full[1]
    else:
        raise SiteError(f"{pattern!r} is not a site. {available(n_layers)}")
    first, last = _bounds(layers, n_layers)
    if not first <= last < n_layers:
        raise SiteError(f"{pattern!r} asks for layers {first} to {last}. {available(n_layers)}")
    for number in range(first, last + 1):
        yield from (canonical_site(f"{kind}.{number}") for kind in kinds)


def _bounds(layers: str, n_layers: int) -> tuple[int, int]:
    if layers == "*":
        return 0, n_layers - 1
    first, _, last = layers.partition("-")
    return int(first), int(last or first)


def available(n_layers: int, kinds: Sequence[str] = tuple(SITE_KINDS)) -> str:
    """The sentence that tells a user which sites a model has."""
    return (
        f"Sites here are KIND.LAYER with layers 0 to {n_layers - 1} and kinds {', '.join(kinds)}; "
        f"ranges are written {kinds[0]}.0-{n_layers - 1} or {kinds[0]}.*"
    )


def layer(site: str) -> int:
    """The block that a site lies in."""
    return int(canonical_site(site).split(".")[1])


def kind(site: str) -> str:
    """The short name of what is read there: `resid_post`, `attn_z`, ..."""
    return KIND_OF[canonical_site(site).split(".", 2)[2]]


def bridge_hook(site: str) -> str:
    """TransformerLens 4's name of a site: `blocks.5.hook_resid_post` -> `blocks.5.hook_out`."""
    return f"blocks.{layer(site)}.{BRIDGE_HOOKS[kind(site)]}"


def module_path(site: str, blocks: str = "layers", attention: str = "self_attn") -> str:
    """sparsify's name of a site, the module whose output it is: `blocks.5.hook_mlp_out` -> `layers.5.mlp`.

    `blocks` and `attention` are the model's own words for them (GPT-2: `h`, `attn`). Raises SiteError for a site
    that is no module's output.
    """
    endings = {"resid_post": "", "mlp_out": ".mlp", "attn_out": f".{attention}"}
    if kind(site) not in endings:
        raise SiteError(
            f"{site} has no module path: it is not the output of a module. Sites that have one: {', '.join(endings)}."
        )
    return f"{blocks}.{layer(site)}{endings[kind(site)]}"


def from_module_path(path: str) -> str:
    """The site that is a module's output: `layers.5` -> `blocks.5.hook_resid_post`, `h.5.mlp` -> its MLP's output."""
    match = re.fullmatch(r"(?:.+\.)?(?:layers|h|blocks)\.(\d+)(?:\.(\w+))?", path)
    if not match or (match[2] or "") not in MODULES:
        raise SiteError(
            f"{path!r} is not a module path that has a site. Write layers.N, layers.N.mlp or layers.N.self_attn."
        )
    return canonical_site(f"{MODULES[match[2] or '']}.{match[1]}")
