"""The folder tree is the architecture: who may import whom, and which names may be used where."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from doctor import read_pins

ROOT = Path(__file__).resolve().parents[1]

# Beside the modules of its own folder and errors.py, what each folder may import of ours.
ALLOWED = {
    "policy": set(),
    "env": {"policy"},  # an episode is an environment and an actor
    # Of a run's directory, what both write there and whether a head is at work on it; and how a
    # process ends with its parent.
    "cluster": {
        *("tracking.cost", "tracking.run_lock", "tracking.run_numbers", "tracking.tags"),
        "fleet.parent",
    },
    "tracking": {
        *("env.spec", "policy.spec", "policy.statistics", "search.timeline"),
        *("fleet.parent", "fleet.security.private_files"),
    },
    "search": {"env", "policy"},
    "fleet": {"search", "env", "policy"},
    "es": {"search", "fleet", "env", "policy"},
    "nevergrad_es": {"search", "fleet", "env", "policy"},
    "training": {"search", "fleet", "env", "policy"},
    "errors.py": set(),
}

# They read the configuration and put the parts together, so they may import anything, each other
# too: the commands, and what experiment commands share.
EDGES = {
    "es/head.py",
    "es/worker.py",
    "es/experiment.py",
    "training/command.py",
    "training/session.py",
    "training/beginning.py",
    "training/strategies.py",
    "nevergrad_es/experiment.py",
    "env/render.py",
    "env/rendering.py",
    "env/evaluate.py",
    "env/evaluating.py",
    "env/subject.py",
    "cluster/launch.py",
    "cluster/manage.py",
    "tracking/report.py",
    "tracking/runs.py",
    "tracking/sync.py",
    "doctor.py",
}

BENCHMARKS = ROOT / "benchmarks"
RIVALS = BENCHMARKS / "rivals"  # of which some are started by their paths

SCRIPT_FOLDERS = sorted({(ROOT / edge).parent for edge in EDGES} | {BENCHMARKS, RIVALS})
CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
NOT_OURS = {".git", ".venv", ".venv-evotorch", "node_modules", "runs", "build", "dist"} | CACHES


def our_files(pattern: str) -> Iterator[Path]:
    """Files whose path ends as ``pattern``, outside what git ignores."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(f for f in inner if f not in NOT_OURS and not f.endswith(".egg-info"))
        for path in (Path(folder, name) for name in sorted(names)):
            if path.match(pattern):
                yield path


def modules() -> list[Path]:
    """Every Python file but tests."""
    return [p for p in our_files("*.py") if p.relative_to(ROOT).parts[0] != "tests"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_by(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports by dots; name the folder"
            module = node.module or ""
            # `from env import spec` names a module as much as `import env.spec` does.
            inner = {f"{module}.{alias.name}" for alias in node.names}
            files = {name for name in inner if (ROOT / (name.replace(".", "/") + ".py")).exists()}
            names |= files or {module}
    return names


def under(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(allowed + ".")


OUR_PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}
OUR_MODULES = {path.stem for path in ROOT.glob("*.py")}


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in OUR_PACKAGES | OUR_MODULES


def folder_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


INNER = [p for p in modules() if folder_of(p) in ALLOWED and name_of(p) not in EDGES]


@pytest.mark.parametrize("path", INNER, ids=name_of)
def test_a_module_imports_only_what_lies_in_its_direction(path: Path) -> None:
    allowed = ALLOWED[folder_of(path)] | {folder_of(path), "errors"}
    wrong = {m for m in imported_by(path) if is_ours(m) and not any(under(m, a) for a in allowed)}
    assert not wrong


@pytest.mark.parametrize("path", INNER, ids=name_of)
def test_nothing_inside_imports_an_edge(path: Path) -> None:
    edges = {edge.removesuffix(".py").replace("/", ".") for edge in EDGES}
    assert not imported_by(path) & edges


def test_every_folder_with_modules_has_a_direction() -> None:
    free = {"benchmarks", "examples"}
    found = {folder_of(p) for p in modules() if name_of(p) not in EDGES}
    assert found <= set(ALLOWED) | free


def test_everything_imported_is_ours_or_standard_or_a_direct_pin() -> None:
    pins = read_pins(ROOT / "requirements.txt").direct
    pins |= read_pins(ROOT / "requirements-no-deps.txt").direct
    providers = metadata.packages_distributions()
    wrong = {
        f"{name_of(path)}: {top}"
        for path in modules()
        for top in {m.partition(".")[0] for m in imported_by(path)}
        if top not in sys.stdlib_module_names
        and not is_ours(top)
        and folder_of(path) not in {"benchmarks", "examples"}
        and not {name.lower().replace("_", "-") for name in providers.get(top, [])} & set(pins)
    }
    assert not wrong


def taken_elsewhere() -> set[str]:
    """Top-level names of the standard library and of every other installed distribution."""
    providers = metadata.packages_distributions()
    installed = {top for top, names in providers.items() if set(names) != {"walking-es"}}
    return installed | set(sys.stdlib_module_names) | {"opensim", "osim", "envs", "cmaes"}


@pytest.mark.parametrize("folder", SCRIPT_FOLDERS, ids=name_of)
def test_no_name_beside_a_command_hides_another_module(folder: Path) -> None:
    """``python es/head.py`` puts ``es/`` first on sys.path, before everything else."""
    beside = {p.stem for p in folder.glob("*.py")} - {"__init__"}
    if folder != ROOT:
        beside |= {p.parent.name for p in folder.glob("*/*.py")}
    taken = taken_elsewhere()
    if folder != ROOT:
        taken |= {p.name for p in ROOT.iterdir() if p.is_dir()} | OUR_MODULES
    assert not beside & taken


def test_every_module_beside_the_benchmarks_rooms_is_a_command() -> None:
    assert all('if __name__ == "__main__":' in path.read_text() for path in BENCHMARKS.glob("*.py"))


@pytest.mark.parametrize("script", ["evotorch_lander", "evotorch_rollouts", "original_osim_pool"])
def test_a_rival_in_a_python_of_its_own_needs_only_what_lies_beside_it(script: str) -> None:
    """EvoTorch's has none of our packages, and a script sees no folder of this tree but its own."""
    ours = OUR_PACKAGES | OUR_MODULES | {path.stem for path in BENCHMARKS.iterdir()}
    names = [script]
    for name in names:  # which grows by what each imports
        imported = {m.partition(".")[0] for m in imported_by(RIVALS / f"{name}.py")}
        assert not imported & ours
        names += [m for m in imported if (RIVALS / f"{m}.py").exists() and m not in names]
    assert len(names) > 1


def test_no_folder_of_ours_hides_an_installed_package() -> None:
    assert not OUR_PACKAGES & taken_elsewhere()


def test_sacred_is_the_installed_one_even_in_our_root() -> None:
    assert not (ROOT / "sacred" / "__init__.py").exists()
    program = "import sacred; print(sacred.__file__)"  # -c puts the working folder first
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    installed = metadata.distribution("sacred").locate_file("sacred/__init__.py")
    assert Path(found.stdout.strip()) == Path(str(installed))


def test_no_file_names_a_machine_or_a_registry() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org", "npm" + "js."]
    folders = ["/" + "work/", "/" + "tmp/w/", "/" + "root/", "/" + "Users/"]
    pattern = re.compile(
        "|".join([*map(re.escape, hosts), *(rf"(?<![\w.}}-]){re.escape(f)}" for f in folders)])
    )
    texts = (p for p in our_files("*") if p.suffix not in {".png", ".gif", ".mp4", ".npz"})
    wrong = [
        f"{name_of(path)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not wrong


def test_every_file_is_short_enough_to_read() -> None:
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in our_files("*.py")}
    assert not {name: length for name, length in lengths.items() if length >= 400}


def test_the_project_file_names_every_package_once() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    found = sorted(
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in our_files("__init__.py")
    )
    top = {name.partition(".")[0] for name in found}
    assert sorted(tool["setuptools"]["packages"]) == found
    assert set(tool["setuptools"]["py-modules"]) == OUR_MODULES
    assert set(tool["mypy"]["packages"]) == top
    assert set(tool["mypy"]["modules"]) == OUR_MODULES
    assert set(tool["ruff"]["lint"]["isort"]["known-first-party"]) == top | OUR_MODULES


def test_every_pin_is_exact() -> None:
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[^;\s]+(; .+)?", line), line
