"""Text in and out of a script: the same in any locale, an end told in one line, names that begin with a minus."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faces.startup import parse

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
from faces.errors import UserError
from faces.startup import run_main

def main():
    {body}

sys.exit(run_main(main))
"""


@pytest.fixture
def run(tmp_path):
    """fn(body of main, **options of subprocess.run, environment) -> finished process."""

    def run(body, *, environment=None, **options):
        (tmp_path / "script.py").write_text(SCRIPT.format(root=str(ROOT), body=body), encoding="utf-8")
        command = [sys.executable, "script.py", *options.pop("arguments", [])]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.run(command, cwd=tmp_path, env=os.environ | (environment or {}), timeout=60, **options)

    return run


@pytest.fixture(scope="session")
def locales(tmp_path_factory):
    """Folder with the locales ru_RU.CP1251 and de_DE.CP1252, for LOCPATH."""
    folder = tmp_path_factory.mktemp("locales")
    for language, charmap in (("ru_RU", "CP1251"), ("de_DE", "CP1252")):
        command = ["localedef", "-c", "-i", language, "-f", charmap, str(folder / f"{language}.{charmap}")]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("this system cannot make locales")
        if not (folder / f"{language}.{charmap}").is_dir():
            pytest.skip(f"this system cannot make locales: {done.stderr.decode()[-200:]}")
    return folder


@pytest.mark.parametrize("locale", ["ru_RU.CP1251", "de_DE.CP1252"])
def test_names_mean_the_same_in_any_locale(run, tmp_path, locales, locale):
    """A list in UTF-8 names a file in UTF-8, whatever the locale can say."""
    (tmp_path / "Лицо é 顔.jpg").write_bytes(b"1")
    (tmp_path / "list.csv").write_text("img_path\nЛицо é 顔.jpg\n", encoding="utf-8")
    body = (
        "from faces.photos.paths import list_pictures; "
        "found = list(list_pictures(sys.argv[1:])); print(found); "
        "print(open(found[0].path).read(), os.path.exists(found[0].path), len(found[0].name))"
    )
    environment = {"LOCPATH": str(locales), "LC_ALL": locale, "PYTHONUTF8": "0"}
    for argument in ("list.csv", "Лицо é 顔.jpg"):
        done = run(body, environment=environment, arguments=[argument])
        assert done.returncode == 0 and b"1 True 12" in done.stdout, done.stderr.decode("latin-1")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp1251:strict"])
@pytest.mark.parametrize("kind", ["print(name)", "raise UserError(name)"])
def test_text_that_the_output_cannot_hold_is_no_traceback(run, encoding, kind):
    body = f"name = 'Лицо 顔 \\udcff.jpg'; {kind}"
    done = run(body, environment={"PYTHONIOENCODING": encoding})
    assert b"Traceback" not in done.stderr and b"\\u9854" in done.stdout + done.stderr
    assert done.returncode == (2 if "raise" in kind else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("body", ["print('x')", "sys.stdout.write('x')", "open('/dev/full', 'w', 1).write('x\\n')"])
def test_full_disk_is_one_line(run, body):
    with open("/dev/full", "w") as full:
        done = run(body, stdout=full)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert done.stderr.endswith(b"cannot be written: No space left on device\n")


def test_closed_pipe_is_an_end_without_a_traceback(run):
    reading, writing = os.pipe()
    os.close(reading)
    done = run("[print('x' * 99) for _ in range(999)]", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_output_that_is_closed_from_the_start(run):
    done = run("print('x')", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--checkpoint", nargs="+")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--level", type=float, nargs="?", const=0.9)
    return parser


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--output", "-x.csv"], {"output": Path("-x.csv")}),
        (["--output=-x.csv", "-a.jpg"], {"output": Path("-x.csv"), "paths": ["./-a.jpg"]}),
        (["--flag", "-a.jpg", "b", "--output", "-a.jpg"], {"paths": ["./-a.jpg", "b"], "output": Path("-a.jpg")}),
        (["--checkpoint", "-a.jpg", "b"], {"checkpoint": ["./-a.jpg", "b"]}),
        (["--level", "--flag", "-"], {"flag": True, "level": 0.9, "paths": ["-"]}),
        (["--flag", "--", "-a.jpg", "--output"], {"flag": True, "paths": ["-a.jpg", "--output"]}),
    ],
)
def test_names_that_begin_with_a_minus(parser, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-a.jpg").touch()
    (tmp_path / "--flag").touch()
    found = vars(parse(parser, arguments))
    assert {name: found[name] for name in expected} == expected


def test_an_option_that_is_unknown_is_still_refused(parser, capsys):
    with pytest.raises(SystemExit):
        parse(parser, ["--outputs", "x"])
    assert "unrecognized arguments: --outputs" in capsys.readouterr().err
