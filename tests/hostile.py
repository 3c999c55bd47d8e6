"""Events whose every string is an attack, for all that shows events.

What runs sets ``window.__x``; what fetches asks the host ``evil.example``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import esnb

RUN = "window.__x=1"

ATTACKS = (
    # markup
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"<!--<script>--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f"<img src=x onerror='{RUN}'//",
    f'"><svg onload={RUN}>',
    f"'><svg/onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<body onload={RUN}>",
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f'<math><mtext></mtext><mglyph><style><img src=x onerror="{RUN}">',
    f"<a href=javascript:{RUN}>click</a>",
    '<link rel=stylesheet href="http://evil.example/x.css">',
    '<img src="http://evil.example/x.png">',
    '<base href="http://evil.example/">',
    '<meta http-equiv=refresh content="0;url=http://evil.example/">',
    '<form action="http://evil.example/"><button>x</button></form>',
    "<style>*{background:url(http://evil.example/x)}</style>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f'" autofocus onfocus="{RUN}" x="',
    # links
    f"javascript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    "http://evil.example/x.png",
    # templates and Vega
    f"${{{RUN}}}",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"`${{{RUN}}}`",
    f"datum['x'] || ({RUN})",
    f"'+(()=>{{{RUN}}})()+'",
    "image",
    "href",
    "signal",
    "data.signal[0]\\.x",
    "__proto__",
    "constructor",
    # Markdown, MathJax
    "**bold** [x](http://evil.example/) ![x](http://evil.example/x.png)",
    r"$\href{javascript:window.__x=1}{x}$",
    r"$$\require{html}\cssId{x}{y}$$ \(x^2\)",
    # terminals
    "\x1b[31mred\x1b[0m\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "carriage\rreturn\nline\ttab\x08\x7f\x85",
    # direction and looks
    "\u202egnp.exe\u202c",
    "zero\u200b\u200c\u200d\u2060\ufeffwidth",
    "\u2066isolated\u2069",
    "раypal",
    "e\u0301 \u00e9 \U0001f469\u200d\U0001f469\u200d\U0001f467",
    # SQL, spreadsheets, files
    "'; DROP TABLE events; --",
    '" OR 1=1 --',
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "../../../../etc/passwd",
    "CON",
    # length
    "A" * 10_000,
)


def log(folder: Path, big: int = 0) -> esnb.EventLog:
    """Return a log of which every string is an attack; with one of `big` characters."""
    made = esnb.create(folder, zone="UTC", maintain=False)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    many = len(ATTACKS)
    for number, attack in enumerate(ATTACKS):
        stream = f"nasty-{attack[:200]}"
        for step in range(3):
            other = ATTACKS[(number + step + 1) % many]
            data = {
                attack: other,
                "status": ATTACKS[(number * 3 + step) % many],
                "total": f"{number}.{step}0",
                "tooltip": {"image": other, "href": f"javascript:{RUN}", other[:50]: [attack]},
                "image": "http://evil.example/x.png",
            }
            if big and number == 0 and step == 2:
                data["big"] = f"<img src=x onerror={RUN}>" * (big // 30)
            made.append(
                stream,
                esnb.DomainEvent(
                    attack[:200] if step == 1 else f"Step{step}",
                    data,
                    occurred_on=start + timedelta(hours=3 * number + step),
                    actor=other[:200],
                    tags=[f"customer:{attack[:100]}"],
                ),
            )
    return made
