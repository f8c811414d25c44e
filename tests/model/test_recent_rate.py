"""The rate of late, by table."""

import pytest

from mailsluice.model.recent_rate import RecentRate


@pytest.mark.parametrize(
    ("seen", "per_s"),
    [
        ([], 0.0),
        ([(100.0, 7)], 0.0),
        ([(100.0, 7), (100.0, 9)], 0.0),
        ([(100.0, 0), (102.0, 50)], 25.0),
        # A slow beginning is forgotten after the window.
        ([(0.0, 0), (100.0, 10), (105.0, 60), (110.0, 110)], 10.0),
        # Nothing for longer than the window, as when nobody sends until the run is resumed.
        ([(0.0, 0), (10.0, 100), (3_600.0, 100), (3_605.0, 150)], 10.0),
        # Rarer than once in a window, or nearly.
        ([(0.0, 0), (15.0, 60), (30.0, 120)], 4.0),
        ([(0.0, 0), (7.0, 70), (14.0, 140), (21.0, 210)], 10.0),
        ([(0.0, 0), (1.0, 100), (2.0, 100), (11.5, 100), (12.5, 100)], 0.0),
    ],
)
def test_it_is_that_of_the_last_ten_seconds(seen: list[tuple[float, int]], per_s: float) -> None:
    rate = RecentRate(10.0)
    for at, total in seen:
        rate.add(at, total)
    assert rate.per_s == pytest.approx(per_s)
