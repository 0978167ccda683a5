import pytest
from pydantic import Field

from saelab.config import Settings, content_hash, load_settings, override, read_yaml, settings, write_yaml
from saelab.errors import ConfigError


class Inner(Settings):
    d_sae: int = Field(8, gt=0)
    k: int = 4


class Outer(Settings):
    sae: Inner = Inner()
    seed: int = 0


def test_a_misspelt_setting_is_refused_and_the_nearest_named():
    with pytest.raises(ConfigError, match="'dsae' is not a setting. Did you mean 'd_sae'"):
        settings(Inner, {"dsae": 8}, where="sae")


def test_a_misspelt_setting_inside_another_is_refused_with_its_path():
    with pytest.raises(ConfigError, match=r"run.yaml: 'sae.kk' is not a setting. Did you mean 'k'"):
        settings(Outer, {"sae": {"kk": 8}}, where="run.yaml")


def test_a_value_of_the_wrong_kind_names_setting_and_value():
    with pytest.raises(ConfigError, match="d_sae = 'many'"):
        settings(Inner, {"d_sae": "many"}, where="sae")


def test_overrides_reach_inside_and_are_read_as_yaml():
    assert override({"sae": {"k": 4}}, ["sae.k=16", "sites=[a, b]", "lr=null"]) == {
        "sae": {"k": 16},
        "sites": ["a", "b"],
        "lr": None,
    }


def test_an_override_leaves_the_original_alone():
    values = {"sae": {"k": 4}}
    override(values, ["sae.k=16"])
    assert values == {"sae": {"k": 4}}


@pytest.mark.parametrize("change", ["sae.k", "=3", "seed.x=1", "k=[1"])
def test_a_change_that_cannot_be_applied_is_refused(change):
    with pytest.raises(ConfigError, match="--set"):
        override({"seed": 0}, [change])


def test_settings_as_resolved_repeat_the_run(tmp_path):
    cfg = Outer(sae=Inner(k=7), seed=3)
    write_yaml(tmp_path / "run.yaml", cfg)
    assert load_settings(Outer, tmp_path / "run.yaml") == cfg


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!python/object/apply:os.system [ls]", "not plain YAML"),
        ("- a\n- b", "settings are a mapping"),
        ("a: [1", "not plain YAML"),
    ],
)
def test_yaml_that_is_no_plain_mapping_is_refused(tmp_path, text, words):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_yaml(tmp_path / "x.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.yaml: there is no such file"):
        read_yaml(tmp_path / "gone.yaml")


def test_equal_values_have_equal_hashes_whatever_their_order():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 2, "b": 1})
