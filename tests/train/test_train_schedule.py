import pytest

from saelab.train.defaults import default_dead_after, default_learning_rate
from saelab.train.schedule import learning_rate


def test_the_rate_rises_stays_and_falls():
    rates = [learning_rate(1.0, step, steps=10, warmup=0.2, decay=0.4) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_without_warm_up_and_decay_the_rate_is_level():
    assert {learning_rate(0.1, step, steps=5, warmup=0.0, decay=0.0) for step in range(5)} == {0.1}


def test_a_single_step_runs_at_the_peak():
    assert learning_rate(0.1, 0, steps=1, warmup=0.05, decay=0.2) == 0.1


def test_a_wider_sae_and_a_longer_run_take_a_lower_rate():
    by_width = [default_learning_rate(d_sae, 1_000_000) for d_sae in (256, 2048, 16384, 131072)]
    by_rows = [default_learning_rate(4096, rows) for rows in (10_000, 300_000, 10_000_000, 1_000_000_000)]
    assert by_width == sorted(by_width, reverse=True)
    assert by_rows == sorted(by_rows, reverse=True)


def test_a_longer_run_waits_longer_before_it_calls_a_feature_dead():
    waits = [default_dead_after(rows, 2048, 32) for rows in (1, 10_000, 1_000_000, 10**9, 10**12)]
    assert waits == sorted(waits)
    assert waits[0] > 0
    assert waits[-1] == 10_000_000


@pytest.mark.parametrize(
    ("rows", "d_sae", "active", "wait"),
    [
        (600_000, 2048, 32, 8192),
        (600_000, 8192, 32, 8192),  # 30 firings of each take 7,680 rows
        (600_000, 65_536, 32, 60_000),  # they would take 61,440; a tenth of the run is less
        (6_000_000, 65_536, 32, 80_000),  # a 75th
        (1_000_000, 65_536, 32, 61_440),
        (1_000_000, 65_536, None, 13_333),  # a variant that states no number of active features
        (5, 64, 8, 1),
    ],
)
def test_a_wide_sae_waits_until_a_feature_of_average_frequency_would_have_fired(rows, d_sae, active, wait):
    assert default_dead_after(rows, d_sae, active) == wait
