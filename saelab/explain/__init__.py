"""What features stand for: rules in words, chosen on one half of the documents and measured on the other."""

from saelab.explain.rules import Labelling, RuleConfig, RuleLabel, label_features

__all__ = ["Labelling", "RuleConfig", "RuleLabel", "label_features"]
