"""The docs say what the code does, and lead nowhere that isn't there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.as_posix()
)
MENTIONED = re.compile(r"`((?:gptload|providers|migrations|tests|docs|benchmarks)/[\w./-]+)`")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_current(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == generate.page(), "run `make docs`"


def test_the_page_of_the_admin_api_is_current(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "admin-api.md").read_text() == generate.admin_api(), "run `make docs`"


def test_the_description_for_machines_is_current(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "openapi.json").read_text() == generate.openapi(), "run `make docs`"


def test_the_readmes_table_is_current(generate: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == generate.with_table(readme), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_every_file_named_is_there(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text)
    gone = [
        link for link in links if "://" not in link and not (page.parent / link).resolve().exists()
    ]
    gone += [name for name in MENTIONED.findall(text) if not (ROOT / name).exists()]
    assert gone == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_decisions_that_code_names_exist() -> None:
    code = "".join(path.read_text() for path in (ROOT / "gptload").rglob("*.py"))
    known = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert set(re.findall(r"docs/decisions/(\d{4})", code)) <= known
