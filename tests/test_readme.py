"""What the README shows exists: every make target, every command and its options, every file it names."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from pipelines.cli import app

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)", README))))
def test_every_make_target_of_the_readme_is_in_the_makefile(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"README shows `make {target}`, the Makefile has none"


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"nightmarket ((?:night|backfill|simulate|doctor)[^`\n]*)", README)))
)
def test_every_command_of_the_readme_is_taken_by_the_program(line):
    name, *words = line.split()
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    shown = {word for word in words if word.startswith("--")}
    assert shown <= known, f"README shows {sorted(shown - known)} of `nightmarket {name}`, known are {sorted(known)}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_that_the_readme_links_is_there(path):
    assert (PROJECT / path).exists()
