"""The examples of docs/write.md answer as printed."""

import doctest
import re
from pathlib import Path
from typing import Any

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
DOCUMENT = Path(__file__).parents[2] / "docs" / "write.md"


def test_the_examples_run() -> None:
    """Blocks with prompts are checked, the others compile; all share their names."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "write"}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=FLAGS)
    for number, block in enumerate(blocks):
        if ">>>" in block:
            test = parser.get_doctest(block, names, f"block {number}", "write.md", 0)
            runner.run(test, clear_globs=False)
            names = test.globs
        else:
            compile(block, f"block {number}", "exec")
    names["log"].close()
    assert runner.tries >= 40
    assert runner.failures == 0
