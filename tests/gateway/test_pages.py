"""Files for browsers, from a folder of the test's own, and the doors they are behind."""

import gzip
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from gateway.pages import Pages, folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "page").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>market-gateway</title>")
    (tmp_path / "client.js").write_text("export const connect = 1;\n" * 100)
    (tmp_path / "worker.js").write_text("import './client.js'")
    (tmp_path / "page" / "style.css").write_text("body {}")
    (tmp_path / "page" / "notes.md").write_text("not for the public")
    (tmp_path / "page" / ".hidden.css").write_text("nor this")
    (tmp_path / "secret.txt").write_text("nor this")
    return tmp_path


@pytest.fixture
def http(root: Path) -> TestClient:
    pages = Pages(root)
    return TestClient(Starlette(routes=[Route(path, pages.answer) for path in pages.paths]))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
    ],
)
def test_a_file_is_what_its_name_says(http: TestClient, path: str, kind: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/page/notes.md",
        "/page/.hidden.css",
        "/page/../secret.txt",
        "/page/%2e%2e/secret.txt",
        "/page/..%2fsecret.txt",
        "/page//etc/passwd",
        "/page/",
        "/page",
        "/vendor/lightweight-charts.mjs",
        "/docs",
    ],
)
def test_what_is_not_listed_or_not_there_is_not_found(http: TestClient, path: str) -> None:
    assert http.get(path).status_code == 404


def test_who_has_it_is_told_so_and_sent_nothing(http: TestClient) -> None:
    tag = http.get("/client.js").headers["etag"]
    again = http.get("/client.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


def test_a_file_that_changed_is_sent_anew(http: TestClient, root: Path) -> None:
    tag = http.get("/client.js").headers["etag"]
    (root / "client.js").write_text("export const connect = 2;")
    os.utime(root / "client.js", ns=(1, 1))
    again = http.get("/client.js", headers={"If-None-Match": tag})
    assert (again.status_code, again.text) == (200, "export const connect = 2;")


def test_a_large_one_is_compressed_for_who_takes_that(http: TestClient, root: Path) -> None:
    packed, plain = (http.get("/client.js", headers={"Accept-Encoding": how}) for how in ("gzip", "identity"))
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", (root / "client.js").read_bytes())
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, 9)) < len(plain.content)
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in http.get("/page/style.css").headers  # it is small


def test_a_page_may_run_no_script_but_ours(http: TestClient) -> None:
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'self'" in policy


def test_the_client_is_for_pages_of_any_origin_and_nothing_else_is(http: TestClient) -> None:
    assert http.get("/client.js").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in http.get("/").headers


def test_a_question_for_the_head_alone_is_answered(http: TestClient) -> None:
    answer = http.head("/client.js")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0


def test_a_checkout_has_its_files_beside_the_package() -> None:
    assert folder() == Path(__file__).parents[2] / "web"
