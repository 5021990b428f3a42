"""The arrows of docs/design.md: imports point one way, and every idea has a home of its own."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from exchanges.registry import VENUES

ROOT = Path(__file__).parent.parent
PACKAGES = ("exchanges", "topics", "gateway")
HOMELESS = {"base", "common", "helper", "helpers", "misc", "shared", "util", "utils"}
GROUND = ("exchanges/errors.py", "exchanges/events.py", "exchanges/metrics.py")


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


@cache
def imports(module: str) -> set[str]:
    """The modules that ``module`` names in its imports, at its top or anywhere inside."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return set(imported(path.read_text(), package))


def imported(text: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # ``from a import b`` may mean the module a.b or a name in a.
            yield from (f"{source}.{alias.name}" for alias in node.names)


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offenders(module: str, *forbidden: str) -> list[str]:
    return sorted(name for name in imports(module) if inside(name, *forbidden))


def of(package: str) -> list[str]:
    return sorted(module for module in MODULES if inside(module, package))


SIMULATOR = "exchanges.simulator"
VENUE_PACKAGES = [f"exchanges.{name}" for name in VENUES]
GENERAL = [m for m in of("exchanges") if not inside(m, SIMULATOR, *VENUE_PACKAGES)]


@pytest.mark.parametrize(
    ("text", "package", "names"),
    [
        ("import a.b", "x", {"a.b"}),
        ("from a import b", "x", {"a.b"}),
        ("def f():\n    from a.b import c, d", "x", {"a.b.c", "a.b.d"}),
        ("from . import b", "x.y", {"x.y.b"}),
        ("from .b import c", "x.y", {"x.y.b.c"}),
        ("from ..b import c", "x.y", {"x.b.c"}),
        ("if TYPE_CHECKING:\n    import a", "x", {"a"}),
    ],
)
def test_an_import_is_seen_however_it_is_written(text: str, package: str, names: set[str]) -> None:
    assert set(imported(text, package)) == names


def test_there_is_something_to_check() -> None:
    assert {"exchanges.feed", "topics.topic", "gateway.app", SIMULATOR, *VENUE_PACKAGES} <= set(MODULES)


@pytest.mark.parametrize("module", of("exchanges"))
def test_exchanges_import_nothing_of_topics_or_gateway(module: str) -> None:
    assert offenders(module, "topics", "gateway") == []


@pytest.mark.parametrize("module", of("topics"))
def test_topics_import_nothing_of_the_gateway(module: str) -> None:
    assert offenders(module, "gateway") == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_the_product_imports_nothing_of_its_tests_and_scripts(module: str) -> None:
    assert offenders(module, "tests", "scripts") == []


@pytest.mark.parametrize("module", [module for package in VENUE_PACKAGES for module in of(package)])
def test_a_venue_imports_no_other_venue(module: str) -> None:
    others = [package for package in VENUE_PACKAGES if not inside(module, package)]
    assert offenders(module, *others) == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_registry_imports_venues(module: str) -> None:
    if module == "exchanges.registry" or inside(module, *VENUE_PACKAGES):
        return
    assert offenders(module, *VENUE_PACKAGES) == []


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(of(SIMULATOR))))
def test_only_the_demo_command_imports_the_simulator(module: str) -> None:
    assert module == "gateway.cli" or offenders(module, SIMULATOR) == []


@pytest.mark.parametrize("module", of(SIMULATOR))
def test_the_simulator_imports_nothing_of_the_project(module: str) -> None:
    """One misreading of a venue must not be made twice."""
    assert [name for name in offenders(module, *PACKAGES) if not inside(name, SIMULATOR)] == []


@pytest.mark.parametrize("file", GROUND)
def test_the_ground_imports_nothing_of_the_project(file: str) -> None:
    assert offenders(file.removesuffix(".py").replace("/", "."), *PACKAGES) == []


@pytest.mark.parametrize("module", [module for module in GENERAL if module != "exchanges.registry"] + of("topics"))
def test_nothing_general_asks_which_venue_it_is(module: str) -> None:
    """No ``if exchange == "binance"``: what differs is said by the venue, in its ``Capabilities`` and streams."""
    compared = [
        constant.value
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Compare | ast.MatchValue)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in VENUES
    ]
    assert compared == []


@pytest.mark.parametrize("venue", VENUES)
def test_every_venue_has_the_same_files(venue: str) -> None:
    files = {path.name for path in (ROOT / "exchanges" / venue).glob("*.py")}
    assert {"__init__.py", "symbols.py", "streams.py", "parse.py", "rest.py"} <= files


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "scripts"])
def test_no_module_is_called_by_a_name_that_says_nothing(folder: str) -> None:
    parts = [part for path in (ROOT / folder).rglob("*.py") for part in path.relative_to(ROOT).with_suffix("").parts]
    assert HOMELESS.isdisjoint(parts)
