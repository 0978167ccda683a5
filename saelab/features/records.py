"""What an index answers: frozen records, the same ones for page, command and notebook."""

from dataclasses import dataclass

UNSAID = "unsaid"  # the kind of a label whose writer did not say one, where kinds are counted and asked for


@dataclass(frozen=True)
class Label:
    """What a feature stands for, and how well: F1, precision and recall on held-out documents, if they were measured.

    `threshold` is the activation above which the label holds, `covers` the share of the feature's summed activation
    that lies above it. `kind` says where the label is from: "own" for a person's, "token", "after", "pair", "triple",
    "place" or "syntax" for a rule's, None when whoever wrote it did not say.
    """

    text: str
    f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    threshold: float | None = None
    covers: float | None = None
    kind: str | None = None


@dataclass(frozen=True)
class FeatureStats:
    """One feature over the indexed tokens. Moments and quantiles are of activations above zero; 0 if it never fired.

    `density` is the share of counted tokens on which it fires, `contexts` the number of contexts in which it does.
    `quantiles` pairs a level with the smallest activation that at least this share of the active tokens stays at or
    below. `cosine` is between the encoder column and the decoder row, None when they live in different spaces.
    """

    feature: int
    count: int
    contexts: int
    density: float
    max: float
    mean: float
    std: float
    quantiles: tuple[tuple[float, float], ...]
    cosine: float | None
    encoder_norm: float
    decoder_norm: float
    b_enc: float
    threshold: float | None


@dataclass(frozen=True)
class Histogram:
    """`counts[i]` values lie in `edges[i] <= value < edges[i + 1]`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """A piece of one context around the token on which the feature fires most strongly in it.

    `activations[i]` belongs to token i; `peak` is the strongest one's place in `ids`. `rank` is the example's place
    among all of the feature's contexts, strongest first; `quantile` the equal-count group it falls in, 0 the weakest.
    `doc` and `pos` say where the peak stands in the corpus, `row` where in the store. `tokens` are the readable
    strings of `ids`, None when the index was built without a language model.
    """

    document: str
    doc: int
    pos: int
    row: int
    rank: int
    quantile: int
    ids: tuple[int, ...]
    tokens: tuple[str, ...] | None
    activations: tuple[float, ...]
    peak: int

    @property
    def activation(self) -> float:
        """The activation at the peak."""
        return self.activations[self.peak]


@dataclass(frozen=True)
class TokenEffect:
    """By how much one unit of a feature moves the logit of a token, to first order."""

    token: str
    id: int
    logit: float


@dataclass(frozen=True)
class LogitEffects:
    """The tokens whose logits a feature raises most, and lowers most; strongest first."""

    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]


@dataclass(frozen=True)
class Neighbour:
    """A feature whose decoder row points in a similar direction."""

    feature: int
    cosine: float
    label: Label | None = None


@dataclass(frozen=True)
class Coactive:
    """A feature that fires on the same tokens: `count` of the sampled ones; Jaccard = both / either."""

    feature: int
    jaccard: float
    count: int
    label: Label | None = None


@dataclass(frozen=True)
class FeatureCard:
    """All that is known of one feature. `effects` is None when the index was built without a language model.

    `top` are its strongest contexts; `quantiles[q]` is a sample of the q-th equal-count group, 0 the weakest.
    """

    stats: FeatureStats
    label: Label | None
    histogram: Histogram
    top: tuple[Example, ...]
    quantiles: tuple[tuple[Example, ...], ...]
    effects: LogitEffects | None
    neighbours: tuple[Neighbour, ...]
    coactive: tuple[Coactive, ...]

    @property
    def feature(self) -> int:
        """Its number in the SAE."""
        return self.stats.feature

    @property
    def promoted_tokens(self) -> tuple[int, ...]:
        """Ids of the tokens it raises most; none when the index was built without a language model."""
        return () if self.effects is None else tuple(one.id for one in self.effects.promoted)


@dataclass(frozen=True)
class FeatureRow:
    """One line of the table of features. `f1` is of the automatic label, also where a person's own comes before it."""

    feature: int
    count: int
    density: float
    max: float
    mean: float
    cosine: float | None
    label: Label | None
    f1: float | None


@dataclass(frozen=True)
class FeatureTable:
    """One page of the table: `rows` of the `total` that match, from `offset` on."""

    rows: tuple[FeatureRow, ...]
    total: int
    offset: int


@dataclass(frozen=True)
class TokenMatch:
    """A feature that moves the logit of a token that was looked for."""

    feature: int
    effect: TokenEffect
    label: Label | None
