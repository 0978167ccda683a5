"""Which layers can share one SAE: those whose activations point nearly the same way on the same tokens.

    distance(i, j) = mean over tokens of arccos(cos(h_i - mean h_i, h_j - mean h_j)) / pi    0: same way, 1/2: unrelated
    AMAD(g)        = mean over g groups of the largest distance within a group (0 in a group of one)

Groups are runs of neighbouring layers. Starting from single layers, the two neighbouring groups are joined whose
furthest members are nearest (complete linkage), until one is left; so there is one grouping for every number of groups.
The fewest groups are taken whose AMAD is below a bound, or as many as asked for.

"Group-SAE: efficient training of sparse autoencoders for large language models via layer groups" (2024); there the
means are running ones, here they are those of the sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import ConfigError
from saelab.train.config import LayerGroupsConfig

Grouping = tuple[tuple[int, ...], ...]  # numbers of layers, group by group, in their order


@dataclass(frozen=True)
class LayerGroups:
    """The sites in their order, how far they are from each other, and into which groups they were put."""

    sites: tuple[str, ...]
    distances: Float[Tensor, "n n"]
    chosen: Grouping

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The sites of each group."""
        return [tuple(self.sites[i] for i in group) for group in self.chosen]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows for the terminal: every number of groups, and which one was taken."""
        rows: list[list[object]] = [
            [len(g), amad(self.distances, g), self._written(g), "taken" if g == self.chosen else ""]
            for g in groupings(self.distances)
        ]
        return ["groups", "AMAD", "layers", ""], rows

    def _written(self, grouping: Grouping) -> str:
        return " | ".join(" ".join(layer_of(self.sites[i]) for i in group) for group in grouping)


def layer_of(site: str) -> str:
    """The layer's number, of a canonical site."""
    return site.split(".")[1]


def group_layers(rows: Mapping[str, Float[Tensor, "rows d"]], cfg: LayerGroupsConfig) -> LayerGroups:
    """Group the sites of `rows`, of the same tokens at each. Raises ConfigError for more groups than sites."""
    sites, found = tuple(rows), angular_distances(list(rows.values()))
    if cfg.count is not None and cfg.count > len(sites):
        raise ConfigError(
            f"layer_groups.count = {cfg.count}, but there are {len(sites)} sites: {', '.join(sites)}.\n"
            "  fix:   lower it, or name more sites"
        )
    return LayerGroups(sites, found, _chosen(found, cfg))


def _chosen(distances: Float[Tensor, "n n"], cfg: LayerGroupsConfig) -> Grouping:
    for grouping in groupings(distances):
        if len(grouping) == cfg.count or (cfg.amad is not None and amad(distances, grouping) < cfg.amad):
            return grouping
    return tuple((i,) for i in range(len(distances)))


def angular_distances(rows: Sequence[Float[Tensor, "rows d"]]) -> Float[Tensor, "n n"]:
    """Between every two sites, by the definition above; summed in fp64."""
    units = [torch.nn.functional.normalize(h.double() - h.double().mean(dim=0), dim=1) for h in rows]
    found = torch.zeros(len(units), len(units), dtype=torch.float64)
    for i, one in enumerate(units):
        for j in range(i + 1, len(units)):
            cosine = (one * units[j]).sum(dim=1).clamp(-1, 1)
            found[i, j] = found[j, i] = cosine.arccos().mean() / pi
    return found


def groupings(distances: Float[Tensor, "n n"]) -> list[Grouping]:
    """One grouping for every number of groups, from a single group to as many as there are layers."""
    groups: list[tuple[int, ...]] = [(i,) for i in range(len(distances))]
    found = [tuple(groups)]
    while len(groups) > 1:
        joined = [groups[i] + groups[i + 1] for i in range(len(groups) - 1)]
        nearest = min(range(len(joined)), key=lambda i: diameter(distances, joined[i]))
        groups[nearest : nearest + 2] = [joined[nearest]]
        found.append(tuple(groups))
    return found[::-1]


def diameter(distances: Float[Tensor, "n n"], group: Sequence[int]) -> float:
    """The largest distance within a group."""
    chosen = torch.tensor(group)
    return distances[chosen][:, chosen].max().item()


def amad(distances: Float[Tensor, "n n"], grouping: Grouping) -> float:
    """Average maximum angular distance: the mean of the groups' diameters."""
    return sum(diameter(distances, group) for group in grouping) / len(grouping)
