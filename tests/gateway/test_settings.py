"""Where settings come from, which source wins, and that no typo passes in silence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exchanges.registry import VENUES
from gateway.settings import PREFIX, Settings, SettingsError, VenueSettings, load, variables

SOME_VENUE = next(iter(VENUES))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the machine's environment nor a ``.env`` beside the checkout says anything."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return file


def refused(config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config)
    return str(caught.value)


def test_with_nothing_set_the_gateway_serves_its_venues_on_loopback() -> None:
    settings = load()

    assert (settings.host, settings.port, settings.exchanges) == ("127.0.0.1", 8787, tuple(VENUES))


def test_the_limits_are_the_contracts() -> None:
    limits = load().limits

    assert (limits.subscriptions_per_connection, limits.topics_per_batch, limits.feeds) == (200, 100, 2_000)
    assert (limits.command_bytes, limits.body_bytes, limits.pending_bytes) == (65_536, 65_536, 1_048_576)
    assert (limits.linger, limits.heartbeat, limits.stall) == (30.0, 15.0, 10.0)
    assert (limits.ping_interval, limits.ping_timeout) == (20.0, 20.0)


@pytest.mark.parametrize(
    ("name", "value", "of", "expected"),
    [
        ("GATEWAY_PORT", "9000", lambda s: s.port, 9000),
        ("gateway_port", "9000", lambda s: s.port, 9000),
        ("GATEWAY_LIMITS__LINGER", "2.5", lambda s: s.limits.linger, 2.5),
        ("GATEWAY_LOG_FORMAT", "json", lambda s: s.log_format, "json"),
        ("GATEWAY_EXCHANGES", f" {SOME_VENUE} ,", lambda s: s.exchanges, (SOME_VENUE,)),
        (
            "GATEWAY_ALLOWED_ORIGINS",
            "https://a.example, null",
            lambda s: s.allowed_origins,
            ("https://a.example", "null"),
        ),
        ("GATEWAY_ALLOWED_ORIGINS", "", lambda s: s.allowed_origins, ()),
        ("GATEWAY_ALLOWED_HOSTS", "a.example", lambda s: s.allowed_hosts, ("a.example",)),
        ("GATEWAY_BYBIT__REST_URL", "http://127.0.0.1:1", lambda s: s.venue("bybit").rest_url, "http://127.0.0.1:1"),
        ("GATEWAY_BINANCE__SPOT_WS_URL", "ws://x", lambda s: s.venue("binance").spot_ws_url, "ws://x"),
        ("GATEWAY_BINANCE__MAX_TOPICS_PER_SOCKET", "5", lambda s: s.binance.max_topics_per_socket, 5),
        ("GATEWAY_CACHE_DIR", "", lambda s: s.cache_dir, None),
        ("GATEWAY_CACHE_DIR", "~/cache", lambda s: s.cache_dir, Path.home() / "cache"),
        ("GATEWAY_METRICS__BIND", "0.0.0.0:1", lambda s: s.metrics.bind, "0.0.0.0:1"),
    ],
)
def test_a_variable_sets_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, of: Callable[[Settings], object], expected: object
) -> None:
    monkeypatch.setenv(name, value)

    assert of(load()) == expected


def test_a_file_says_the_same_in_toml(tmp_path: Path) -> None:
    file = toml(
        tmp_path,
        f"""
        port = 9000
        exchanges = ["{SOME_VENUE}"]
        cache_dir = ""
        [limits]
        linger = 2.5
        [bybit]
        rest_url = "http://127.0.0.1:1"
        """,
    )

    settings = load(file)

    assert (settings.port, settings.exchanges, settings.cache_dir) == (9000, (SOME_VENUE,), None)
    assert (settings.limits.linger, settings.limits.feeds) == (2.5, 2_000)
    assert settings.venue("bybit") == VenueSettings(rest_url="http://127.0.0.1:1")


def test_the_environment_wins_over_the_env_file_and_that_over_toml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = toml(tmp_path, "port = 1\nnode = 'toml'\nlog_level = 'error'\n[limits]\nlinger = 1\nfeeds = 1")
    (tmp_path / ".env").write_text("GATEWAY_PORT=2\nGATEWAY_NODE=env-file\nGATEWAY_LIMITS__LINGER=2\n")
    monkeypatch.setenv("GATEWAY_PORT", "3")

    settings = load(file)

    assert (settings.port, settings.node, settings.log_level) == (3, "env-file", "error")
    assert (settings.limits.linger, settings.limits.feeds) == (2.0, 1)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_PROT", "GATEWAY_PORT"),
        ("gateway_exchange", "GATEWAY_EXCHANGES"),
        ("GATEWAY_LIMITS__LINGR", "GATEWAY_LIMITS__LINGER"),
        ("GATEWAY_LIMITS_LINGER", "GATEWAY_LIMITS__LINGER"),
        ("GATEWAY_BYBIT__REST_URI", "GATEWAY_BYBIT__REST_URL"),
    ],
)
def test_an_unknown_variable_is_refused_by_name_with_the_closest_known_one(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "5")

    assert refused() == f"{name} is not a setting; did you mean {meant}?"


def test_a_variable_like_none_that_is_known_is_refused_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_XYZZYXYZZYXYZZY", "5")

    assert refused() == f"GATEWAY_XYZZYXYZZYXYZZY is not a setting; known: {', '.join(sorted(variables()))}"


def test_other_programs_variables_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAYX_PROT", "5")

    assert load().port == 8787


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot = 5", "GATEWAY_PROT is not a setting; did you mean GATEWAY_PORT?"),
        ("[limits]\nlingr = 5", "GATEWAY_LIMITS__LINGR is not a setting; did you mean GATEWAY_LIMITS__LINGER?"),
        ("[bybit]\nrest = 'x'", "GATEWAY_BYBIT__REST is not a setting; did you mean GATEWAY_BYBIT__REST_URL?"),
    ],
)
def test_an_unknown_key_of_a_file_is_refused_likewise(tmp_path: Path, text: str, line: str) -> None:
    assert refused(toml(tmp_path, text)) == line


def test_an_unknown_key_of_an_env_file_is_refused_likewise(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PROT=5\n")

    assert refused() == "GATEWAY_PROT is not a setting; did you mean GATEWAY_PORT?"


def test_other_programs_keys_in_an_env_file_are_none_of_our_business(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\nGATEWAY_PORT=9000\n")

    assert load().port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "x"),
        ("GATEWAY_PORT", "65536"),
        ("GATEWAY_PORT", "-1"),
        ("GATEWAY_PORT", ""),
        ("GATEWAY_LOG_FORMAT", "xml"),
        ("GATEWAY_AUTH__MODE", "jwt"),
        ("GATEWAY_LIMITS__LINGER", "-1"),
        ("GATEWAY_LIMITS__STALL", "0"),
        ("GATEWAY_LIMITS__FEEDS", "0"),
        ("GATEWAY_LIMITS__COMMAND_BYTES", "10"),
        ("GATEWAY_LIMITS__PENDING_BYTES", "1000"),
        ("GATEWAY_BINANCE__MAX_TOPICS_PER_SOCKET", "0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    problem = refused()

    assert problem.startswith(f"{name}: ")
    assert "\n" not in problem


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    lines = refused(toml(tmp_path, "port = 'x'\nlog_format = 'xml'")).splitlines()

    assert [line.partition(":")[0] for line in lines] == ["GATEWAY_PORT", "GATEWAY_LOG_FORMAT"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("mtgox", "unknown exchange mtgox; known: " + ", ".join(VENUES)),
        (f"{SOME_VENUE},mtgox,ftx", "unknown exchange ftx, mtgox; known: " + ", ".join(VENUES)),
        ("", "unknown exchange (none given); known: " + ", ".join(VENUES)),
        (" , ", "unknown exchange (none given); known: " + ", ".join(VENUES)),
    ],
)
def test_an_unknown_exchange_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    monkeypatch.setenv("GATEWAY_EXCHANGES", value)

    assert refused() == f"GATEWAY_EXCHANGES: {problem}"


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe\x00", b"port = 1\nport = 2"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)

    assert refused(file).startswith(f"{file}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.toml") in refused(tmp_path / "none.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example", ""])
def test_another_address_without_authentication_must_be_meant(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("GATEWAY_HOST", host)

    assert "GATEWAY_AUTH__ALLOW_ANONYMOUS=true" in refused()

    monkeypatch.setenv("GATEWAY_AUTH__ALLOW_ANONYMOUS", "true")
    assert load().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_authentication(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("GATEWAY_HOST", host)

    assert load().loopback


def test_every_venue_has_a_section_of_its_own() -> None:
    assert [name for name in VENUES if not isinstance(Settings.model_fields[name].default, VenueSettings)] == []


def test_every_variable_is_listed() -> None:
    names = variables()

    assert {"GATEWAY_HOST", "GATEWAY_AUTH__MODE", "GATEWAY_LIMITS__STALL", "GATEWAY_BYBIT__WS_URL"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:word@host:6380/2",
        "unix:///run/redis.sock",
        "redis+sentinel://one:26379,two:26380/ours/3",
        "redis+sentinel://user:p%40ss@one/ours",
        "redis+cluster://user:p%40ss@one:6379,two:6380",
        "rediss+cluster://one/0?ssl_cert_reqs=none",
        "redis+cluster://[::1]:6379,two",
    ],
)
def test_an_address_of_a_redis_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GATEWAY_REDIS_URL", url)

    assert load().redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "must begin with redis://, rediss://, unix://, redis+sentinel://"),
        ("redis://host:port", "is no address"),
        ("redis+sentinel://host:port/ours", "is no address"),
        ("redis+sentinel://host", "is no address"),
        ("redis+sentinel://one,,two/ours", "is no address"),
        ("redis+sentinel://one/ours/first", "is no address"),
        ("redis+cluster://host:port", "is no address"),
        ("redis+cluster://one,,two", "is no address"),
        ("redis+cluster://one/1", "is no address"),
        ("redis+cluster://one?db=x", "is no address"),
    ],
)
def test_what_is_no_address_of_a_redis_is_refused_and_no_password_is_shown(
    monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    secret = url.replace("://", "://user:secret@")
    monkeypatch.setenv("GATEWAY_REDIS_URL", secret)

    message = refused()
    assert message.startswith(f"GATEWAY_REDIS_URL: {words}")
    assert "secret" not in message


def test_several_workers_need_a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_WORKERS", "2")
    without = refused()
    monkeypatch.setenv("GATEWAY_REDIS_URL", "redis://localhost")

    assert without == "GATEWAY_WORKERS=2 need GATEWAY_REDIS_URL, by which they share their feeds"
    assert load().workers == 2


@pytest.mark.parametrize("name", ["", "two words", "a/b", "é", "x" * 65])
def test_a_name_of_a_node_that_others_could_not_read_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GATEWAY_NODE", name)

    assert refused() == "GATEWAY_NODE: 1 to 64 letters, digits, and any of . : _ -"
