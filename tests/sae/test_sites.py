"""Rows of several sites in one row, and where they lead back to."""

import pytest
import torch

from saelab.errors import CheckpointError
from saelab.sae.sites import Part, Sites, one_site, sites_read, sites_written

EARLY, LATE = "blocks.1.hook_resid_post", "blocks.2.hook_resid_post"
BOTH = Sites((Part(EARLY, 2, 0.5), Part(LATE, 3, 2.0)))
RAW = {EARLY: torch.tensor([[2.0, 4.0]]), LATE: torch.tensor([[1.0, 2.0, 3.0]])}


def metadata(**more):
    return {"hook_name": [EARLY, LATE], "sites": BOTH.to_json(), **more}


def test_a_row_is_the_sites_side_by_side_each_times_its_scale():
    assert BOTH.join(RAW).tolist() == [[1.0, 2.0, 2.0, 4.0, 6.0]]
    assert BOTH.d == 5
    assert BOTH.places() == {EARLY: slice(0, 2), LATE: slice(2, 5)}


def test_splitting_leads_back_to_raw_activations():
    assert {site: rows.tolist() for site, rows in BOTH.split(BOTH.join(RAW)).items()} == {
        site: rows.tolist() for site, rows in RAW.items()
    }


def test_one_site_s_rows_are_left_as_they_are():
    alone = Sites((Part(EARLY, 2),))
    rows = RAW[EARLY].bfloat16()
    assert alone.join({EARLY: rows}) is rows
    assert alone.split(rows)[EARLY].equal(rows)


def test_a_checkpoint_s_metadata_say_what_it_reads_and_writes():
    assert sites_read(metadata(), 5) == sites_written(metadata(), 5, 5) == BOTH
    spread = {"hook_name": EARLY, "hook_name_out": [EARLY, LATE], "sites_out": BOTH.to_json()}
    assert sites_read(spread, 2) == Sites((Part(EARLY, 2),))
    assert sites_written(spread, 2, 5) == BOTH
    assert sites_written({"hook_name": EARLY}, 2, 2).names == (EARLY,)


def test_what_takes_one_site_says_so_once_and_what_to_do():
    assert one_site({"hook_name": EARLY}) == (EARLY, EARLY)
    assert one_site({"hook_name": EARLY, "hook_name_out": LATE}) == (EARLY, LATE)
    with pytest.raises(CheckpointError, match=r"(?s)crosscoder of several sites, .*1.* \+ .*2.*fix: .*saelab index"):
        one_site(metadata())
    with pytest.raises(CheckpointError, match="names no site"):
        one_site({})
    with pytest.raises(CheckpointError, match="names no site"):
        sites_read({}, 2)
