"""Every format of what is known of features, by name. A new one is a file here and a line below."""

from saelab.interop import circuit_tracer_features, neuronpedia, saedashboard
from saelab.interop.feature_data import FeatureFormat

FEATURE_FORMATS: dict[str, FeatureFormat] = {
    "neuronpedia": neuronpedia.FORMAT,
    "saedashboard": saedashboard.FORMAT,
    "circuit_tracer_features": circuit_tracer_features.FORMAT,
}
