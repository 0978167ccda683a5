"""Features and strengths, of this SAE and of others of its run, as a link and as people write them."""

import pytest

from saelab.app.widgets import steer_link

SIZES = {"topk": 20, "other-sae": 8}


def test_a_steering_survives_the_address():
    strengths = {("topk", 12): 2.0, ("topk", 4): -1.5, ("other-sae", 7): 0.25}
    text = steer_link.written(strengths, "topk")
    assert text == "12:2,4:-1.5,other-sae@7:0.25"
    assert steer_link.steers(text, "topk", SIZES, 8) == (strengths, None)


@pytest.mark.parametrize(
    "raw", ["12", "12:", "12:x", "99:1", "1:nan", "1:inf", "1:1e9", "1:11", ";", "1:1;drop table", "gone@1:1",
            "other-sae@8:1", "../topk@1:1"]
)  # fmt: skip
def test_a_broken_steering_is_left_out_with_a_note(raw):
    found, note = steer_link.steers(raw, "topk", SIZES, 8)
    assert found == {}
    assert "left out" in note


def test_features_are_read_as_people_type_them():
    keys = [("topk", 12), ("other-sae", 4)]
    assert steer_link.typed("12, other-sae@4  12", "topk", SIZES, 8) == (keys, None)
    assert steer_link.typed("", "topk", SIZES, 8) == ([], None)
    assert "At most 2" in steer_link.typed("1 2 3", "topk", SIZES, 2)[1]
    found, note = steer_link.typed("1, 99, other-sae@9", "topk", SIZES, 8)
    assert found == [("topk", 1)]
    assert note.startswith("No such feature: 99, other-sae@9. There are features 0 to 19 of topk; features 0 to 7")
