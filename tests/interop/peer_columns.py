"""What readers of feature data ask for: fields of SAEDashboard 0.8's classes, columns of Neuronpedia's tables.

NEEDS are the fields that Neuronpedia's converter of SAEDashboard's files looks up; ACCEPTS those that SAEDashboard's
classes take. Of a table: the columns without a default that may not be null, and all of those that it has (2026-08).
"""

TABLES = {f"neuron_alignment_{end}" for end in ("indices", "values", "l1")}
TABLES |= {f"correlated_{what}_{end}" for what in ("neurons", "features") for end in ("indices", "pearson", "l1")}
HISTOGRAMS = {f"{what}_hist_data_bar_{end}" for what in ("freq", "logits") for end in ("heights", "values")}
LOGITS = {"neg_str", "neg_values", "pos_str", "pos_values"}
PLAIN = TABLES | HISTOGRAMS | LOGITS | {"frac_nonzero", "decoder_weights_dist"}

DASHBOARD_NEEDS = {
    "batch": {"model_id", "layer", "sae_set", "sae_id_suffix", "features"},
    "feature": PLAIN | {"feature_index", "activations"},
    "activation": {"tokens", "values", "bin_min", "bin_max", "bin_contains", "qualifying_token_index"},
}
DASHBOARD_ACCEPTS = {
    "batch": DASHBOARD_NEEDS["batch"],
    "feature": DASHBOARD_NEEDS["feature"] | {"n_prompts_total", "n_tokens_in_prompt", "dataset", "vector"},
    "activation": DASHBOARD_NEEDS["activation"] | {"dfa_values", "dfa_maxValue", "dfa_targetIndex"},
}

KEY = {"modelId", "layer", "index"}
OWNED = {"creatorId", "createdAt", "visibility"}
VECTOR = {"hasVector", "vector", "vectorLabel", "vectorDefaultSteerStrength", "hookName"}
UMAP = {"umap_x", "umap_y", "umap_cluster", "umap_log_feature_sparsity"}
# folder or file -> columns that must be there, columns that there are
NEURONPEDIA: dict[str, tuple[set[str], set[str]]] = {
    "features": (
        KEY,
        KEY | PLAIN | VECTOR | UMAP
        | {"sourceSetName", "creatorId", "createdAt", "maxActApprox", "topkCosSimIndices", "topkCosSimValues"},
    ),
    "activations": (
        KEY | {"id", "tokens", "values", "maxValue", "maxValueTokenIndex", "minValue", "creatorId"},
        KEY | {"id", "tokens", "values", "maxValue", "maxValueTokenIndex", "minValue", "creatorId", "createdAt"}
        | {"dataIndex", "dataSource", "dfaValues", "dfaTargetIndex", "dfaMaxValue", "zQIndices", "zKIndices", "zValues"}
        | {"lossValues", "logitContributions", "binMin", "binMax", "binContains", "qualifyingTokenIndex"},
    ),
    "explanations": (
        KEY | {"id", "description", "authorId"},
        KEY | UMAP | {"id", "description", "authorId", "embedding", "triggeredByUserId", "notes", "scoreV1", "scoreV2"}
        | {"typeName", "explanationModelName", "createdAt", "updatedAt"},
    ),
    "model": (
        {"id", "creatorId", "layers", "neuronsPerLayer", "owner"},
        OWNED | {"id", "displayName", "displayNameShort", "tlensId", "openRouterId", "dimension", "thinking", "owner"}
        | {"defaultSourceSetName", "defaultSourceId", "defaultGraphSourceSetName", "inferenceEnabled", "instruct"}
        | {"layers", "neuronsPerLayer", "updatedAt", "website"},
    ),
    "source": (
        {"id", "modelId", "setName", "creatorId"},
        OWNED | {"id", "modelId", "setName", "hasDashboards", "inferenceEnabled", "saelensConfig", "saelensRelease"}
        | {"saelensSaeId", "hfRepoId", "hfFolderId", "defaultOfModelId", "hasUmap", "hasUmapLogSparsity"}
        | {"hasUmapClusters", "num_prompts", "num_tokens_in_prompt", "dataset", "notes"},
    ),
    "sourceset": (
        {"modelId", "name", "description", "creatorName", "creatorId"},
        OWNED | {"modelId", "name", "description", "creatorName", "hasDashboards", "type", "urls", "creatorEmail"}
        | {"releaseName", "defaultOfModelId", "defaultRange", "showDfa", "showCorrelated", "showUmap"},
    ),
    "release": (
        {"name", "description", "creatorName", "creatorId"},
        OWNED | {"name", "description", "descriptionShort", "creatorName", "creatorNameShort", "creatorEmail", "urls"}
        | {"isNewUi", "featured", "defaultSourceSetName", "defaultSourceId", "defaultUmapSourceIds"},
    ),
}  # fmt: skip
