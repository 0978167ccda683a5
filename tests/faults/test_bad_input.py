"""Bad input, as a user brings it to the command line: one message, exit code 2, and nothing lost or half-written."""

import shutil
from collections.abc import Callable

import pytest
from places import Place, call, contents, damage


def a_corpus_that_is_not_there(place: Place) -> list[str]:
    return ["harvest", str(place.harvest), "--set", f"corpus.paths=[{place / 'nowhere'}]"]


def an_empty_corpus(place: Place) -> list[str]:
    return ["harvest", str(place.harvest), "--set", f"corpus.paths=[{place.write('empty/a.txt', b'')}]"]


def text_that_is_not_utf_8(place: Place) -> list[str]:
    return [
        "harvest",
        str(place.harvest),
        "--set",
        f"corpus.paths=[{place.write('latin/a.txt', b'caf' + bytes([233]))}]",
    ]


def a_store_made_by_another_model(place: Place) -> list[str]:
    other = place / "other-model"
    shutil.copytree(place.model, other)
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    weights["transformer.h.0.mlp.c_fc.bias"] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    store = f"out={place / 'store'}"
    return ["harvest", str(place.harvest), "--set", f"model={other}", "--set", store]


def a_site_the_model_does_not_have(place: Place) -> list[str]:
    return ["harvest", str(place.harvest), "--set", "sites=[resid_post.9]"]


def more_latents_kept_than_there_are(place: Place) -> list[str]:
    return ["train", str(place.train), "--set", "sae.k=65", "--set", "name=wide"]


def a_damaged_shard(place: Place) -> list[str]:
    damage(sorted((place / "store").rglob("*.parquet"))[0])
    return ["train", str(place.train), "--set", "name=again"]


def a_cut_shard(place: Place) -> list[str]:
    shard = sorted((place / "store").rglob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    return ["train", str(place.train), "--set", "name=again"]


def a_damaged_checkpoint(place: Place) -> list[str]:
    weights = place / "sae/small/sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return ["eval", str(place / "sae/small")]


def a_full_disk(place: Place) -> list[str]:
    return ["harvest", str(place.harvest), "--set", "tokens=1000000000000"]


def a_run_name_with_dots(place: Place) -> list[str]:
    return ["train", str(place.train), "--set", "name=../../elsewhere"]


def a_run_name_with_a_slash(place: Place) -> list[str]:
    return ["train", str(place.train), "--set", "name=a/b"]


def yaml_with_an_unknown_key(place: Place) -> list[str]:
    return ["train", str(place.train), "--set", "train.learning_rate=0.1", "--set", "name=again"]


def yaml_with_an_object_tag(place: Place) -> list[str]:
    return ["train", str(place.write("evil.yaml", b"store: !!python/object/apply:os.system ['true']\n"))]


def a_hub_id_without_a_network(place: Place) -> list[str]:
    return ["harvest", str(place.harvest), "--set", "model=nobody/has-this-model"]


def kernels_that_do_not_exist(place: Place) -> list[str]:
    return ["doctor", str(place.folder)]  # run with SAELAB_KERNELS=fast


# What the user did, and words that the message must hold: the value at fault, or what to do about it.
MISTAKES: dict[Callable[[Place], list[str]], tuple[str, ...]] = {
    a_corpus_that_is_not_there: ("nowhere",),
    an_empty_corpus: ("no", "text"),
    text_that_is_not_utf_8: ("a.txt", "UTF-8"),
    a_store_made_by_another_model: ("fingerprint",),
    a_site_the_model_does_not_have: ("resid_post.9", "0 to 2"),
    more_latents_kept_than_there_are: ("65", "64"),
    a_damaged_shard: (".parquet", "damaged", "checksum"),
    a_cut_shard: (".parquet", "damaged", "bytes"),
    a_damaged_checkpoint: ("sae_weights.safetensors",),
    a_full_disk: ("GB", "free"),
    a_run_name_with_dots: ("../../elsewhere",),
    a_run_name_with_a_slash: ("a/b",),
    yaml_with_an_unknown_key: ("learning_rate", "lr"),
    yaml_with_an_object_tag: ("evil.yaml",),
    kernels_that_do_not_exist: ("SAELAB_KERNELS", "fast", "reference, cpu, triton"),
    a_hub_id_without_a_network: ("nobody/has-this-model", "HF_HUB_OFFLINE"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_answered_by_one_message_and_leaves_everything_as_it_was(place, capsys, monkeypatch, mistake):
    arguments = mistake(place)
    if mistake is kernels_that_do_not_exist:
        monkeypatch.setenv("SAELAB_KERNELS", "fast")
    before = contents(place.folder)
    assert call(arguments) == 2
    words = capsys.readouterr().err
    assert words.count("Error: ") == 1 and "Traceback" not in words
    for wanted in MISTAKES[mistake]:
        assert wanted in words
    assert contents(place.folder) == before


def test_a_corpus_of_one_line_of_megabytes_is_read_like_any_other(place):
    line = place.write("long/a.txt", b"x" * 3_000_000)
    paths = f"corpus.paths=[{line}, {place / 'texts'}]"  # one document alone may be held out, by its path
    assert call(["harvest", str(place.harvest), "--set", paths, "--set", "tokens=3000000"]) == 0
    assert (place / "new/manifest.json").is_file()
