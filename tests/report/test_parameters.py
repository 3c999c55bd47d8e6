"""Parameters of a notebook: found, replaced in their place, refused by name."""

import ast

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb.errors import InputError
from esnb.report import with_parameters

v4 = nbformat.v4
FIRST = """%load_ext esnb
import esnb
month = "2026-01"  # é, the month
least: float = 2.5; names = ["a",
    "b"]
none = None
log = esnb.open(month)
"""


def notebook(*cells, tagged=None):
    made = [v4.new_markdown_cell("# Title"), *map(v4.new_code_cell, cells)]
    if tagged is not None:
        made[tagged + 1].metadata["tags"] = ["parameters"]
    return v4.new_notebook(cells=made)


def test_assignments_get_their_new_values_where_they_stand():
    made = notebook(FIRST)
    given = {"month": "it's", "least": "7", "names": "('x', 1)", "none": "free text"}
    assert with_parameters(made, given) == {
        "month": '"it\'s"', "least": "7", "names": "('x', 1)", "none": "'free text'",
    }  # fmt: skip
    assert made.cells[1].source == (
        '%load_ext esnb\nimport esnb\nmonth = "it\'s"  # é, the month\n'
        "least: float = 7; names = ('x', 1)\nnone = 'free text'\nlog = esnb.open(month)\n"
    )


def test_the_tagged_cell_goes_before_the_first():
    made = notebook("a = 1", "b = 2\nb = 3", tagged=1)
    assert with_parameters(made, {}) == {"b": "3"}
    assert with_parameters(made, {"b": "9"}) == {"b": "9"}
    assert made.cells[2].source == "b = 9\nb = 9"
    with pytest.raises(InputError, match=r"no parameter 'a'; it has: b\."):
        with_parameters(made, {"a": "1"})


@pytest.mark.parametrize(
    ("source", "given", "words"),
    [
        (FIRST, {"mnth": "x"}, "no parameter 'mnth'; it has: month, least, names, none"),
        (FIRST, {"log": "x"}, "no parameter 'log'"),
        (FIRST, {"least": "much"}, "least='much' is no value of Python such as '2.5'"),
        ("%%bash\nls", {"x": "1"}, "it has: none"),
        ("x = (", {"x": "1"}, "it has: none"),
    ],
)
def test_what_is_no_parameter_is_said(source, given, words):
    made = notebook(source)
    with pytest.raises(InputError, match=words):
        with_parameters(made, given)
    assert made.cells[1].source == source


def test_a_notebook_without_code_has_no_parameters():
    assert with_parameters(notebook(), {}) == {}
    with pytest.raises(InputError, match="it has: none"):
        with_parameters(notebook(), {"x": "1"})


@given(st.text(), st.text())
def test_a_text_stays_that_text_whatever_it_holds(before, after):
    made = notebook(f"é = 1; a = {before!r}; b = 2")
    with_parameters(made, {"a": after})
    names = {}
    exec(compile(ast.parse(made.cells[1].source), "cell", "exec"), names)  # noqa: S102
    assert (names["é"], names["a"], names["b"]) == (1, after, 2)
