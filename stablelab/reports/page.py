"""A page that stands on its own: style, tables, pictures and words in one HTML file that loads nothing."""

from __future__ import annotations

import base64
import contextlib
import html
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..stability.estimates import Estimate
from .numbers import Column

_STYLE = Path(__file__).parent / "report.css"
# Says to the browser what is true anyway: nothing is loaded, and nothing runs.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page.

    Arguments:
        title: plain text.
        parts: HTML of its body, in order.
    """
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def text(said: object) -> str:
    """Anything as text that is safe between tags and in attributes."""
    return html.escape(str(said), quote=True)


def picture(png: bytes, words: str, caption: str) -> str:
    """A picture inside the page.

    Arguments:
        png: the bytes of a PNG file.
        words: what it shows, for those who cannot see it.
        caption: what stands under it.
    """
    data = base64.b64encode(png).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{text(words)}">'
    return f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names and what they are, a line each; those that are not known are left out."""
    lines = (f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows if value)
    return f'<div class="wide"><table class="facts"><tbody>{"".join(lines)}</tbody></table></div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = "") -> str:
    """A table whose cells are HTML already, from ``cell`` or ``text``; the first column names the row."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    inside = f"{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inside}</table></div>'


def estimates(labels: Iterable[str], columns: Sequence[Column], found: Sequence[Estimate]) -> list[str]:
    """A row of a table: what it is of, how many runs, and each value over its interval."""
    n = max(each.n + each.left_out for each in found)
    cells = [*(f'<th scope="row">{text(label)}</th>' for label in labels), f"<td>{n}</td>"]
    for column, each in zip(columns, found, strict=True):
        bad = ' class="bad"' if column.name == "failed" and each.value > 0 else ""
        cells.append(f'<td{bad} title="{text(_about(each))}">{value(each, column)}</td>')
    return cells


def value(found: Estimate, column: Column) -> str:
    """An estimate as HTML: the value and, where there is one, its interval."""
    said = text(column.say(found.value))
    if found.low is None or found.high is None:
        return said
    return f"{said}<small>[{text(column.say(found.low))}, {text(column.say(found.high))}]</small>"


def write(file: str | os.PathLike[str], content: str) -> Path:
    """Write the file as a whole or not at all.

    Raises:
        ValueError: in one line, where it cannot be written.
    """
    target = Path(file).expanduser()
    draft = ""
    try:
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".new")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(draft, 0o644)  # it is made to be handed on; a draft is its owner's alone
        os.replace(draft, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise ValueError(f"the report cannot be written to {target}: {error.strerror or error}") from None
    return target


def _about(found: Estimate) -> str:
    count = f"{found.n} {found.of}{'s' * (found.n != 1)}"
    out = f"{found.left_out} that diverged left out" if found.left_out else ""
    return "; ".join(filter(None, (count, found.method, found.note, out)))
