"""The frame that all charts of a page share."""

from qat.reporting.svg import figure, legend, make_scale, ticks_below, ticks_left


def test_a_scale_goes_either_way():
    at_x, at_y = make_scale((0.0, 4.0), 10, 50), make_scale((0.0, 4.0), 50, 10)
    assert [at_x(1.0), at_y(1.0)] == [20.0, 40.0]


def test_each_tick_has_its_line_and_its_value():
    for parts in (ticks_below((0.0, 1.0), float, 0, 10), ticks_left((0.0, 1.0), float, 0, 10)):
        assert len(parts) == 2 * 6
        assert ">0.2</text>" in parts[3]


def test_texts_are_escaped():
    page = figure("<b>", 100, [], legend([("a & b", "#000000")]))
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
