"""How the app looks: one blue for what a feature does, one orange for the opposite or the other, in both themes.

Blue and orange are told apart by every kind of colour vision. The shades are steps of opacity over the page's own
background, so text keeps its colour and its contrast (at least 4.5 to 1 at the darkest step).
"""

import streamlit as st

from saelab.app.widgets.tokens import STEPS

BLUE = {"light": "#1f6fc5", "dark": "#5aa9f0"}
ORANGE = {"light": "#c96a10", "dark": "#f0a04b"}
GREY = {"light": "#667085", "dark": "#98a2b3"}
LINES = {  # told apart by every kind of colour vision, in this order (after Okabe and Ito 2008)
    "light": ("#1f6fc5", "#c96a10", "#0a8f6a", "#a8478f", "#7a6a00", "#4a5464"),
    "dark": ("#5aa9f0", "#f0a04b", "#3fc79f", "#e08ac8", "#d8c84a", "#b9c0cb"),
}
_RGB = {
    "light": {"s": "66, 148, 240", "o": "240, 150, 50"},
    "dark": {"s": "52, 128, 220", "o": "205, 112, 20"},
}
_OPACITY = {"light": 0.82, "dark": 0.95}  # of the darkest step
_PAGE = {
    "light": {"muted": "#667085", "faint": "rgba(16, 24, 40, .10)", "ink": "#101828", "tip": "#101828", "on": "#fff"},
    "dark": {"muted": "#98a2b3", "faint": "rgba(255, 255, 255, .12)", "ink": "#f2f4f7", "tip": "#f2f4f7", "on": "#101"},
}

RULES = """
.stTextArea textarea { font-family: "Source Code Pro", ui-monospace, Menlo, Consolas, monospace; font-size: .84rem; }
[class*="st-key-links"] a { background: none; padding: .1rem .2rem; min-height: 0; }
[class*="st-key-links"] a:hover { background: var(--sl-faint); }
[class*="st-key-links"] a * { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-weight: 400; }
[class*="st-key-links"] a strong { font-weight: 600; }
[class*="st-key-links"] a p { font-size: .84rem; }
.sl-list { display: flex; flex-direction: column; }
.sl-ex { display: grid; grid-template-columns: 6.6rem minmax(0, 1fr); gap: 1rem; align-items: baseline;
  padding: .32rem .1rem; border-bottom: 1px solid var(--sl-faint); }
.sl-ex:last-child { border-bottom: none; }
.sl-val { font-variant-numeric: tabular-nums; font-size: .84rem; font-weight: 600; line-height: 1.5; }
.sl-doc { color: var(--sl-muted); font-size: .74rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.sl-body, .sl-text { font-family: "Source Code Pro", ui-monospace, Menlo, Consolas, monospace; font-size: .84rem;
  line-height: 1.75; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; }
.sl-text { padding: .15rem 0; }
.sl-body span, .sl-text span { display: inline-block; white-space: pre; line-height: 1.4;
  border-radius: 3px; unicode-bidi: isolate; position: relative; max-width: 100%; }
.sl-body i, .sl-text i { font-style: normal; opacity: .45; }
.sl-body .pk, .sl-text .pk { box-shadow: 0 0 0 1.5px var(--sl-blue); }
.sl-text .prompt { color: var(--sl-muted); display: inline; white-space: pre-wrap; }
.sl-body span[data-v]:hover, .sl-text span[data-v]:hover { outline: 1.5px solid var(--sl-ink); z-index: 20; }
.sl-body span[data-v]:hover::after, .sl-text span[data-v]:hover::after { content: attr(data-v); position: absolute;
  left: 50%; bottom: calc(100% + 5px); transform: translateX(-50%); background: var(--sl-tip); color: var(--sl-on);
  font: 500 .75rem/1.2 "Source Sans", system-ui, sans-serif; padding: 4px 7px; border-radius: 5px; white-space: pre;
  pointer-events: none; z-index: 30; }
.sl-key { display: inline-flex; align-items: center; gap: .45rem; color: var(--sl-muted); font-size: .8rem; }
.sl-key b { width: 7rem; height: .7rem; border-radius: 3px; }
.sl-pick { cursor: pointer; user-select: none; touch-action: none; }
.sl-pick span.in { background: color-mix(in srgb, var(--sl-orange) 30%, transparent); }
.sl-note { border-left: 3px solid var(--sl-blue); padding: .1rem .7rem; color: var(--sl-muted); font-size: .88rem;
  overflow-wrap: anywhere; max-width: 46rem; }
.sl-head { color: var(--sl-muted); font-size: .8rem; padding-bottom: .2rem; }
.sl-tok { width: 100%; border-collapse: collapse; font-size: .84rem; table-layout: fixed; }
.sl-tok td { padding: .16rem .2rem; border-bottom: 1px solid var(--sl-faint); }
.sl-tok td:first-child { font-family: "Source Code Pro", ui-monospace, monospace; white-space: pre;
  overflow: hidden; text-overflow: ellipsis; }
.sl-tok td:last-child { width: 58%; }
.sl-tok i { font-style: normal; opacity: .45; }
.sl-bar { display: flex; align-items: center; gap: .4rem; font-variant-numeric: tabular-nums; color: var(--sl-muted);
  font-size: .78rem; }
.sl-bar span { width: 3.2rem; text-align: right; }
.sl-bar progress { flex: 1 1 0; width: 0; min-width: 0; height: .5rem; border: none; border-radius: 3px;
  overflow: hidden; background: transparent; appearance: none; }
.sl-bar progress::-webkit-progress-bar { background: transparent; }
.sl-bar progress::-webkit-progress-value { background: var(--sl-blue); border-radius: 3px; }
.sl-bar progress::-moz-progress-bar { background: var(--sl-blue); border-radius: 3px; }
.sl-bar.down progress::-webkit-progress-value { background: var(--sl-orange); }
.sl-bar.down progress::-moz-progress-bar { background: var(--sl-orange); }
"""


def theme() -> str:
    """The browser's theme: "light" or "dark"."""
    return "dark" if st.context.theme.type == "dark" else "light"


def apply() -> None:
    """Send the rules for the browser's theme."""
    st.html(f"<style>{css(theme())}</style>")


def css(kind: str) -> str:
    """The rules, with the shades of one theme."""
    page = _PAGE[kind]
    names = {**page, "blue": BLUE[kind], "orange": ORANGE[kind]}
    variables = " ".join(f"--sl-{name}: {value};" for name, value in names.items())
    scale = f".sl-key b {{ background: linear-gradient(90deg, transparent, {_shade(kind, 's', STEPS)}); }}"
    return f":root {{ {variables} }}\n{RULES}\n{scale}\n" + "\n".join(_shades(kind))


def _shades(kind: str) -> list[str]:
    return [
        f".sl-body .{hue}{i}, .sl-text .{hue}{i} {{ background: {_shade(kind, hue, i)}; }}"
        for hue in ("s", "o")
        for i in range(1, STEPS + 1)
    ]


def _shade(kind: str, hue: str, i: int) -> str:
    return f"rgba({_RGB[kind][hue]}, {0.06 + (_OPACITY[kind] - 0.06) * i / STEPS:.3f})"
