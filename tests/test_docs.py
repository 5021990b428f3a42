"""The docs say what is so: names in tables, links, commands and files are compared with the code that has them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel

from exchanges import errors, metrics, registry
from exchanges.venue import CHANNELS
from gateway import app, commands, replies, settings
from gateway import metrics as gateway_metrics
from gateway.settings import LimitSettings, Settings
from gateway.state import VERSION
from topics import key
from topics import metrics as topic_metrics
from topics.tally import Tallies

ROOT = Path(__file__).parent.parent
GUIDE = "INTEGRATION_README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PACKAGES = ("exchanges", "topics", "gateway")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def page(name: str) -> str:
    return (ROOT / name).read_text()


def section(name: str, title: str) -> str:
    """What stands under one heading, up to the next of its rank or above."""
    text = page(name)
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"{name} has no section {title}"
    rest = text[heading.end() :]
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table(text: str) -> list[list[str]]:
    """The cells of every row whose first cell begins with code."""
    rows = [line.removesuffix("|")[1:].split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def names(text: str) -> list[str]:
    """What the first cells of a table name, one or several in each."""
    return [name for row in table(text) for name in re.findall(r"`([^`]+)`", row[0])]


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def sent_codes() -> set[str]:
    """Every code a client can be told: of the error classes, of the statuses, and of refused handshakes."""
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.GatewayError)]
    literal = re.findall(r'"code": "([A-Z_]+)"', "".join(path.read_text() for path in (ROOT / "gateway").glob("*.py")))
    return {one.code for one in classes} | set(replies.STATUSES) | set(literal)


def test_every_error_code_has_its_row_in_the_protocol_and_no_other_has() -> None:
    documented = names(section("docs/protocol.md", "Errors"))
    assert sorted(documented) == sorted(sent_codes())


def test_the_protocol_gives_each_code_the_status_that_rest_answers_with() -> None:
    documented = {row[0].strip("`"): row[1] for row in table(section("docs/protocol.md", "Errors"))}
    assert {code: documented[code] for code in replies.STATUSES} == {c: str(s) for c, s in replies.STATUSES.items()}


def test_every_close_code_is_in_the_protocol_and_no_other_is() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d{4}) ", page("docs/protocol.md"), re.MULTILINE)}
    assert documented == {value for name, value in vars(replies).items() if name.startswith("CLOSE_")}


def test_the_guide_for_frontends_says_what_to_do_about_every_error_code_and_no_other() -> None:
    assert sorted(names(section(GUIDE, "Error codes"))) == sorted(sent_codes())


def test_the_guide_for_frontends_says_what_to_do_about_every_close_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d{4}) ", page(GUIDE), re.MULTILINE)}
    assert codes == {value for name, value in vars(replies).items() if name.startswith("CLOSE_")} | {1006}


def test_the_guide_for_frontends_has_words_for_every_state_and_every_gap() -> None:
    states = set(names(section("docs/protocol.md", "Status")))
    assert states and states <= set(names(section(GUIDE, "What to show a user")))
    reasons = set(re.findall(r"`([A-Z_]+)`", section("docs/protocol.md", "Gap")))
    reasons |= set(re.findall(r'reason: "([A-Z_]+)"', page("docs/protocol.md"))) - {"DEPLOY"}
    assert reasons and reasons <= set(names(section(GUIDE, "Reconnect and resume")))


def test_every_websocket_command_is_in_the_protocol_and_no_other_is() -> None:
    documented = names(section("docs/protocol.md", "Websocket"))
    assert set(documented) == set(commands.MODELS)


def test_every_endpoint_is_in_the_protocol_and_no_other_is() -> None:
    documented = {
        name.split()[1] for name in names(section("docs/protocol.md", "REST")) if name.startswith(("GET", "POST"))
    }
    routes = {route.path for route in app.App(Settings.model_construct()).http.routes}
    assert documented == routes


def test_every_header_that_pages_may_read_is_in_the_protocol() -> None:
    assert set(names(section("docs/protocol.md", "Headers"))) == set(app.EXPOSED_HEADERS)


def test_every_topic_parameter_is_in_the_protocol() -> None:
    text = section("docs/protocol.md", "Symbols and params")
    documented = set(names(text)) | {alias for row in table(text) for alias in re.findall(r"`(\w+)`", row[-1])}
    assert set(key.KNOWN_PARAMS) <= documented


def test_every_limit_stated_in_hello_is_in_the_protocol() -> None:
    stated = set(re.findall(r'"(\w+)":', re.search(r'"limits":({.*?})', page("docs/protocol.md"))[1]))  # type: ignore[index]
    assert set(names(section("docs/protocol.md", "Limits and defaults"))) == stated
    assert set(LimitSettings().stated) == stated


def defaults(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Each variable and its default as an operator would write it."""
    for name, field in model.model_fields.items():
        value, variable = field.default, f"{prefix}{name}".upper()
        if isinstance(value, BaseModel):
            yield from defaults(type(value), f"{variable}__")
        elif value in (None, ()):
            yield variable, "none"
        elif isinstance(value, tuple):
            yield variable, ",".join(value)
        elif isinstance(value, bool):
            yield variable, str(value).lower()
        else:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            yield variable, text.replace(str(Path.home()), "~")


def test_every_setting_is_in_the_operators_table_with_its_default() -> None:
    documented = {row[0].strip("`"): row[1] for row in table(section("docs/operate.md", "Settings"))}
    assert sorted(documented) == sorted(settings.variables())
    assert documented == dict(defaults(Settings, settings.PREFIX))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_settings_that_exist(path: Path) -> None:
    known = {*settings.variables(), "GATEWAY_CONFORMANCE_DATA", "GATEWAY_PROT"}  # the last is an example of a typo
    assert set(re.findall(r"GATEWAY_[A-Z_]*[A-Z]\b", path.read_text())) <= known


def test_every_metric_is_in_the_operators_table_with_its_labels() -> None:
    counted = {}
    for module in (metrics, topic_metrics, gateway_metrics):
        for metric in vars(module).values():
            if isinstance(metric, Counter | Gauge | Histogram | Tallies):
                family = metric.describe()[0]
                labels = family._labelnames if isinstance(metric, Tallies) else metric._labelnames
                counted[family.name + "_total" * (family.type == "counter")] = ", ".join(labels)
    documented = {row[0].strip("`"): row[1] for row in table(section("docs/operate.md", "Metrics"))}
    assert documented == counted


def test_every_log_event_is_in_the_operators_table_and_no_other_is() -> None:
    call = re.compile(r'\blog\.(?:debug|info|warning|error|exception)\(\s*"(\w+)"')
    logged = {event for path in sources() for event in call.findall(path.read_text())}
    assert set(names(section("docs/operate.md", "Logs"))) == logged


@pytest.mark.parametrize("name", registry.VENUES)
def test_a_venue_has_a_page_and_a_row_in_the_readme(name: str) -> None:
    assert (ROOT / f"docs/venues/{name}.md").exists()
    assert name in names(section("README.md", "What it offers"))


def test_the_protocol_names_every_channel_and_every_exchange() -> None:
    words = section("docs/protocol.md", "Words")
    assert {name for name in (*CHANNELS, *registry.VENUES) if f"`{name}`" not in words} == set()


def test_the_changelog_has_this_version() -> None:
    assert f"## [{VERSION}] - " in page("CHANGELOG.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_pages_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", path.read_text())):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            linked = (path.parent / file).resolve() if file else path
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def anchors(path: Path) -> set[str]:
    """Headings as GitHub makes links of them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    commands_in_code = re.findall(r"(?:^|`)make ([a-z]+)", "\n".join(CODE.findall(path.read_text())), re.MULTILINE)
    assert set(commands_in_code) <= targets


def test_the_readmes_test_command_is_make_test() -> None:
    assert re.search(r"^make test\b", section("README.md", "Five minutes"), re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_files_that_exist(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    words = {word for span in re.findall(r"`([^`\n]+)`", prose) for word in span.split() if "<" not in word}
    named = {
        word for word in words if word.startswith((*(f"{one}/" for one in PACKAGES), "tests/", "scripts/", "docs/"))
    }
    assert {name for name in named if not any(ROOT.glob(name.removesuffix("/")))} == set()


def test_no_file_tells_whose_machine_it_was_written_on() -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    private = re.compile(r"(?<![\w.])/(?:work|home|root|Users)/|\bshared[/]")
    found = {
        f"{name}:{number}"
        for name in listed
        if not name.startswith(".ci/") and (ROOT / name).is_file()  # there it is said where recordings may lie
        for number, line in enumerate((ROOT / name).read_text(errors="ignore").splitlines(), 1)
        if private.search(line)
    }
    assert found == set()
