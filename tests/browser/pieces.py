"""Pieces of a notebook, found in its kernel: what the hand did to them is read back there."""

from playwright.sync_api import Locator, Page


def named(notebook, name: str, kind: str, place: int = 0) -> None:
    """Give one of the pieces of a kind, in the order in which they were made, a name."""
    found = f"[one for one in _instances.values() if type(one).__name__ == {kind!r}]"
    notebook.python(
        "from ipywidgets.widgets.widget import _instances\n"
        f"{name} = [one for one in {found} if one.comm is not None][{place}]"
    )


def standing(log: str, replay: str, columns: str = "event_type") -> str:
    """Return code that prints columns of the event at which a replay stands."""
    # Python is told when the hand rests; until then it may stand nowhere.
    return (
        f"at = {replay}.settings['at']\n"
        f"found = {log}.events().filter(f'position = {{-1 if at is None else at}}')\n"
        f"print(*(found.project({columns!r}).fetchone() or ()))"
    )


def piece(page: Page, label: str) -> Locator:
    """Return the pieces with this label, which it may go on behind."""
    return page.locator(f".esnb-piece[aria-label^='{label}']")


def pictures(notebook, **parts: Locator) -> None:
    """Leave a picture of each part in each theme."""
    for theme in ("light", "dark"):
        notebook.theme(theme)
        for name, locator in parts.items():
            notebook.part(locator, f"{name.replace('_', '-')}-{theme}")
    notebook.theme("light")
