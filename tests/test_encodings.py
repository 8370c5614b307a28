"""No file is read or written in the encoding of the locale: every place that opens text names the encoding."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = {"open", "read_text", "write_text", "fdopen"}


def unnamed(source):
    """Lines of calls that open text and leave the encoding to the locale."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        owner = ast.unparse(call.func).rpartition(".")[0]
        words = {keyword.arg for keyword in call.keywords}
        modes = [node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        modes += [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "mode"]
        is_binary = any("b" in mode and len(mode) <= 5 for mode in modes)
        opens_no_text = owner in (
            "os",
            "Image",
            "tarfile",
            "webbrowser",
            "tar",
            "packed",
            "archive",
            "copy",
            "self",
            "av",
        )
        if (
            name in TEXT
            and (owner or name == "open")
            and not is_binary
            and not opens_no_text
            and "encoding" not in words
        ):
            yield call.lineno


def test_every_text_file_names_its_encoding():
    files = [*ROOT.glob("*.py"), *(path for room in ("faces", "keras_impl") for path in (ROOT / room).rglob("*.py"))]
    assert len(files) > 100
    found = {path.relative_to(ROOT).as_posix(): list(unnamed(path.read_text(encoding="utf-8"))) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("code", ["open(x)", "open(x, 'w')", "path.read_text()", "path.open()", "p.write_text(y)"])
def test_call_that_leaves_it_to_the_locale_is_found(code):
    assert list(unnamed(code)) == [1]
    assert list(unnamed("open(x, 'rb'); path.read_text(encoding='utf-8'); Image.open(x); path.open('wb')")) == []
