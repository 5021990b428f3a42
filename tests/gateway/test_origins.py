"""Which pages may connect, by what a browser says of them."""

import re

import pytest

from gateway.origins import LOCAL_HOSTS, LOCAL_ORIGIN, allowed

OURS = (*LOCAL_HOSTS, "gateway.example")


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        (None, "gateway.example", True),  # no web page: a script, another server
        (None, None, True),
        ("http://localhost:3000", "127.0.0.1:8787", True),
        ("http://127.0.0.1", "localhost:8787", True),
        ("http://[::1]:5173", "[::1]:8787", True),
        ("https://localhost", "gateway.example", True),
        ("https://gateway.example", "gateway.example", True),
        ("https://gateway.example:8443", "gateway.example:8443", True),
        ("https://gateway.example:8443", "gateway.example", False),  # another port is another page
        ("https://evil.example", "gateway.example", False),
        ("https://evil.example", "127.0.0.1:8787", False),
        ("https://evil.example", "evil.example", False),  # a name that was made to resolve to us
        ("https://evil.example:8787", "evil.example:8787", False),
        ("https://localhost.evil.example", "127.0.0.1:8787", False),
        ("https://evil.example/localhost", "localhost", False),
        ("https://localhost@evil.example", "localhost:8787", False),
        ("https://gateway.example.evil.example", "gateway.example", False),
        ("https://gateway.example", None, False),
        ("https://gateway.example", "", False),
        ("null", "127.0.0.1:8787", False),
        ("file://", "127.0.0.1:8787", False),
        ("file://localhost/page.html", "127.0.0.1:8787", False),
        ("chrome-extension://abc", "127.0.0.1:8787", False),
        ("", "127.0.0.1:8787", False),
    ],
)
def test_pages_of_this_host_and_of_localhost_may_connect(origin: str | None, host: str | None, may: bool) -> None:
    assert allowed(origin, host, origins=(), hosts=OURS) is may


@pytest.mark.parametrize("origin", ["https://app.example", "null", "file://"])
def test_a_listed_origin_may_connect_from_anywhere(origin: str) -> None:
    assert allowed(origin, "gateway.example", origins=("https://app.example", "null", "file://"), hosts=OURS)


@pytest.mark.parametrize("origin", ["https://app.example:444", "http://app.example", "https://APP.example.evil"])
def test_an_origin_like_a_listed_one_is_not_listed(origin: str) -> None:
    assert not allowed(origin, "gateway.example", origins=("https://app.example",), hosts=OURS)


def test_a_star_must_be_said_and_then_holds_for_all() -> None:
    assert allowed("https://anything.example", "gateway.example", origins=("*",), hosts=OURS)


@pytest.mark.parametrize(
    "origin",
    ["http://[::1", "https://[bad]", "http://]", "http://a:b:c", "http://gateway.example:port", "//", "http://\u2100"],
)
def test_an_origin_that_is_none_is_refused_and_breaks_nothing(origin: str) -> None:
    assert not allowed(origin, "127.0.0.1:8787", origins=(), hosts=OURS)


@pytest.mark.parametrize("host", ["[::1", "[bad]", "a]", "\u2100"])
def test_a_host_that_is_none_is_not_ours_and_breaks_nothing(host: str) -> None:
    assert not allowed(f"https://{host}", host, origins=(), hosts=OURS)
    assert not allowed("https://evil.example", host, origins=(), hosts=OURS)


@pytest.mark.parametrize(
    ("origin", "local"),
    [
        ("http://localhost", True),
        ("https://localhost:3000", True),
        ("http://127.0.0.1:80", True),
        ("http://[::1]:80", True),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://127x0x0x1", False),
        ("http://localhost:3000/path", False),
        ("file://localhost", False),
    ],
)
def test_rest_and_websocket_agree_on_what_is_local(origin: str, local: bool) -> None:
    assert bool(re.fullmatch(LOCAL_ORIGIN, origin)) is local
