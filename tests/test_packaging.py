"""What a wheel carries is what a checkout has."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = {"migrations": "gptload.migrations", "providers": "gptload_providers"}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_with_code_is_in_the_list_of_packages(
    setup: configparser.ConfigParser,
) -> None:
    """A new folder that is forgotten there is missing in the wheel only."""
    listed = setup["options"]["packages"].split()
    found = ["twisted.plugins"]
    for top in ("gptload", "migrations", "providers"):
        for file in (ROOT / top).rglob("*.py"):
            parts = file.parent.relative_to(ROOT).parts
            found.append(".".join([MAPPED.get(parts[0], parts[0]), *parts[1:]]))
    assert listed == sorted(set(found))


def test_every_provider_has_its_entry_point(setup: configparser.ConfigParser) -> None:
    points = setup["options.entry_points"]["gptload.providers"].split("\n")
    modules = sorted(line.split(" = ")[1].split(":")[0] for line in points if line)
    files = (ROOT / "providers").glob("*.py")
    assert modules == sorted(
        f"gptload_providers.{file.stem}" for file in files if file.stem[0] != "_"
    )


def test_there_is_no_package_above_the_plugin() -> None:
    """An `__init__.py` there would hide Twisted's own plugins."""
    assert list((ROOT / "twisted").rglob("__init__.py")) == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, installed in a folder elsewhere."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: a build leaves its traces beside the code
    source.mkdir()
    for name in ("gptload", "migrations", "providers", "twisted"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
        )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source)],
        check=True,
    )
    [wheel] = folder.glob("*.whl")
    shutil.rmtree(source)
    place = folder / "place"
    subprocess.run([*pip, "install", *offline, "--target", str(place), str(wheel)], check=True)
    return place


def run(place: Path, folder: Path, *command: str) -> str:
    """Run Python in a folder elsewhere, with the installed package and not the checkout's."""
    # -S keeps the checkout's .pth and finder out; the dependencies come by path.
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-S", *command],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(place), dependencies]),
            "PORT": "0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_wheel_has_the_command(installed: Path, tmp_path: Path) -> None:
    twistd = ("-c", "from twisted.scripts.twistd import run; run()")
    assert "One address in front of many AI-API keys" in run(installed, tmp_path, *twistd, "--help")
    told = run(installed, tmp_path, *twistd, "-n", "gptload")
    assert told.startswith("gptload can't start: the configuration is wrong.\n  PORT='0'")


@pytest.mark.skipif(
    not (ROOT / "gptload/control/site/index.html").is_file() and not os.environ.get("CI"),
    reason="the dashboard isn't built: make web",
)
def test_the_wheel_has_the_dashboard_as_it_was_built(installed: Path) -> None:
    built, carried = (place / "gptload" / "control" / "site" for place in (ROOT, installed))
    names = [path.relative_to(built) for path in built.rglob("*") if path.is_file()]
    assert {"index.html", "index.html.br", "csp.json", "theme.js"} <= {str(name) for name in names}
    assert [name for name in names if not (carried / name).is_file()] == []


def test_the_wheel_has_providers_migrations_and_types(installed: Path, tmp_path: Path) -> None:
    told = run(
        installed,
        tmp_path,
        "-c",
        "from importlib.resources import files\n"
        "import gptload\n"
        "from gptload.provider import discover\n"
        "print(gptload.__file__)\n"
        "print(sorted(discover().by_name), discover().broken)\n"
        "print((files('gptload.migrations') / 'script.py.mako').is_file())\n"
        "print((files('gptload.migrations.versions') / '0001_first_tables.py').is_file())\n"
        "print((files('gptload') / 'py.typed').is_file())\n",
    )
    assert told.splitlines() == [
        str(installed / "gptload" / "__init__.py"),
        "['anthropic', 'gemini', 'openai', 'openai-response'] ()",
        "True",
        "True",
        "True",
    ]


def test_the_wheel_makes_its_database(installed: Path, tmp_path: Path) -> None:
    told = run(
        installed,
        tmp_path,
        "-c",
        "from gptload.control.db.database import make_engine, parse_dsn\n"
        "from gptload.control.db.migrate import migrate\n"
        "from sqlalchemy import inspect\n"
        "engine = make_engine(parse_dsn('./data/x.db'))\n"
        "migrate(engine)\n"
        "print('groups' in inspect(engine).get_table_names())\n",
    )
    assert told == "True\n"
    assert (tmp_path / "data" / "x.db").is_file()


def test_the_wheel_has_nothing_else(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.startswith("gptload-")}
    assert top == {"bin", "gptload", "gptload_providers", "twisted"}  # bin: the command
    plugins = installed / "twisted" / "plugins"
    assert [path.name for path in plugins.glob("*.py")] == ["gptload_plugin.py"]
