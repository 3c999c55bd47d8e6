"""The examples of the documents answer as printed."""

import doctest
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_the_examples_of_aggregates_run():
    """Blocks with prompts are checked, the others run; all share their names."""
    text = (ROOT / "docs" / "aggregates.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 9
    names: dict[str, Any] = {"__name__": "aggregates"}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=FLAGS)
    for number, block in enumerate(blocks):
        if ">>>" in block:
            test = parser.get_doctest(block, names, f"block {number}", "aggregates.md", 0)
            runner.run(test, clear_globs=False)
            names = test.globs
        else:
            exec(compile(block, f"block {number}", "exec"), names)  # noqa: S102
    names["log"].close()
    assert runner.tries >= 30
    assert runner.failures == 0
