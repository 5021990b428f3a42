"""Every setting: name, default, meaning. Environment (``GATEWAY_``, nested with ``__``), ``.env``, or a TOML file.

An unknown key is an error that names the closest known one, so that a typo cannot leave a default in force.
"""

import difflib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from exchanges.registry import VENUES
from topics.place import connect
from topics.shards import SCHEMES, ClusterUrl

PREFIX = "GATEWAY_"
NODE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
REDIS_FORMS = (
    "redis://user:password@host:6379/0, redis+sentinel://user:password@host:26379,host:26379/service/0 and "
    "redis+cluster://user:password@host:6379,host:6379"
)
REDIS_SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", *(f"{scheme}://" for scheme in SCHEMES))


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthSettings(Section):
    mode: Literal["off"] = "off"
    allow_anonymous: bool = False  # serve another address than loopback although auth is off


class MetricsSettings(Section):
    bind: str = "127.0.0.1:9464"  # where /metrics is served when the gateway itself is not on loopback


class VenueSettings(Section):
    """Base URLs (our paths are appended) and socket limits; empty: the venue's own."""

    rest_url: str | None = None
    ws_url: str | None = None
    spot_rest_url: str | None = None
    spot_ws_url: str | None = None
    max_topics_per_socket: int | None = Field(default=None, ge=1)


class LimitSettings(Section):
    """The limits of docs/protocol.md; stated in ``hello``."""

    connections: int = Field(default=5_000, ge=1)
    connections_per_address: int = Field(default=0, ge=0)  # websockets; 0: any number
    accept_rate: float = Field(default=200.0, gt=0)  # new connections a second
    accept_burst: int = Field(default=1_000, ge=1)
    subscriptions_per_connection: int = Field(default=200, ge=1)
    topics_per_batch: int = Field(default=100, ge=1)
    command_bytes: int = Field(default=64 * 1024, ge=1024)
    command_rate: float = Field(default=20.0, gt=0)  # a second
    command_burst: int = Field(default=100, ge=1)
    command_delays: int = Field(default=120, ge=0)  # commands in a row that wait for their turn
    command_refusals: int = Field(default=20, ge=1)  # after them; then the connection ends
    bad_commands: int = Field(default=50, ge=1)  # in a row; then the connection ends
    head_seconds: float = Field(default=10.0, gt=0)
    body_bytes: int = Field(default=64 * 1024, ge=1024)
    body_seconds: float = Field(default=15.0, gt=0)
    request_rate: float = Field(default=20.0, gt=0)  # REST requests a second of one address
    request_burst: int = Field(default=40, ge=1)
    feeds: int = Field(default=2_000, ge=1)
    linger: float = Field(default=30.0, ge=0)  # seconds
    heartbeat: float = Field(default=15.0, gt=0)  # seconds
    pending_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)  # owed to one client
    stall: float = Field(default=10.0, gt=0)  # seconds without progress of a client that is owed something
    lag: float = Field(default=30.0, gt=0)  # seconds a client may be behind at a stretch
    ping_interval: float = Field(default=20.0, gt=0)  # seconds
    ping_timeout: float = Field(default=20.0, gt=0)  # seconds
    drain: float = Field(default=0.0, ge=0, le=300)  # seconds for clients to go elsewhere at the end

    @property
    def stated(self) -> dict[str, Any]:
        """As stated in ``hello``; bytes, counts and ms."""
        return {
            "connections": self.connections,
            "subscriptions": self.subscriptions_per_connection,
            "topicsPerBatch": self.topics_per_batch,
            "commandBytes": self.command_bytes,
            "commandsPerSecond": self.command_rate,
            "commandBurst": self.command_burst,
            "requestsPerSecond": self.request_rate,
            "requestBurst": self.request_burst,
            "feeds": self.feeds,
            "pendingBytes": self.pending_bytes,
            "stallMs": round(self.stall * 1000),
            "lagMs": round(self.lag * 1000),
            "pingIntervalMs": round(self.ping_interval * 1000),
            "pingTimeoutMs": round(self.ping_timeout * 1000),
            "lingerMs": round(self.linger * 1000),
        }


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    exchanges: Annotated[tuple[str, ...], NoDecode] = tuple(VENUES)
    default_exchange: str = "hyperliquid"
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()  # addresses or networks
    redis_url: SecretStr = SecretStr("")  # of the history that outlives a restart; empty: it does not
    workers: int = Field(default=1, ge=1, le=64)  # processes on one port; more than one need Redis
    compression: Literal["off", "shared"] = "off"
    node: str = "gateway-1"
    log_format: Literal["json", "console"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    cache_dir: Path | None = Path("~/.cache/market-gateway").expanduser()  # last good catalogues; empty: none
    auth: AuthSettings = AuthSettings()
    metrics: MetricsSettings = MetricsSettings()
    limits: LimitSettings = LimitSettings()
    binance: VenueSettings = VenueSettings()
    bybit: VenueSettings = VenueSettings()
    hyperliquid: VenueSettings = VenueSettings()

    @field_validator("exchanges", "allowed_origins", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Comma-separated in the environment, a list in TOML."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("exchanges")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(VENUES))
        if unknown or not names:
            raise ValueError(f"unknown exchange {', '.join(unknown) or '(none given)'}; known: {', '.join(VENUES)}")
        return names

    @field_validator("node")
    @classmethod
    def _name(cls, name: str) -> str:
        if NODE.fullmatch(name) is None:
            raise ValueError("1 to 64 letters, digits, and any of . : _ -")
        return name

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr) -> SecretStr:
        """Not shown in the error: it may hold a password."""
        if url.get_secret_value() and not url.get_secret_value().startswith(REDIS_SCHEMES):
            raise ValueError(f"must begin with {', '.join(REDIS_SCHEMES)}")
        try:
            if url.get_secret_value() and ClusterUrl.of(url.get_secret_value()) is None:
                connect(url.get_secret_value(), timeout=1.0)  # nothing is sent
        except ValueError:
            raise ValueError(f"is no address; such are {REDIS_FORMS}") from None
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            ipaddress.ip_network(name)
        return names

    @field_validator("cache_dir", mode="before")
    @classmethod
    def _expand(cls, path: Any) -> Any:
        return Path(path).expanduser() if path else None

    @model_validator(mode="after")
    def _meet_somewhere(self) -> Self:
        if self.workers > 1 and not self.redis_url.get_secret_value():
            raise ValueError(f"{PREFIX}WORKERS={self.workers} need {PREFIX}REDIS_URL, by which they share their feeds")
        return self

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def venue(self, name: str) -> VenueSettings:
        section: VenueSettings = getattr(self, name)
        return section

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments (a TOML file's content), then the environment over them."""
        dotenv = named["dotenv_settings"]
        if isinstance(dotenv, DotEnvSettingsSource):  # other programs have their keys in the same file
            ours = {name: value for name, value in dotenv.env_vars.items() if name.upper().startswith(PREFIX)}
            dotenv.env_vars = ours
        return named["env_settings"], named["dotenv_settings"], named["init_settings"]


class SettingsError(Exception):
    """The settings cannot be used; ``str()`` is one line a setting."""


def load(config: Path | None = None) -> Settings:
    """The settings in force.

    Raises:
        SettingsError: an unknown key, or a value that cannot be.
    """
    try:
        values = tomllib.loads(config.read_text("utf-8")) if config else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config}: {error}") from error
    _refuse_unknown_variables()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(problem) for problem in error.errors())) from error
    if not settings.loopback and settings.auth.mode == "off" and not settings.auth.allow_anonymous:
        raise SettingsError(
            f"{PREFIX}HOST={settings.host} would serve everybody without authentication: "
            f"set {PREFIX}AUTH__ALLOW_ANONYMOUS=true to mean it, or keep 127.0.0.1"
        )
    return settings


def variables() -> list[str]:
    """Every environment variable there is."""
    names = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            names += [f"{PREFIX}{name}__{inner}".upper() for inner in section.model_fields]
        else:
            names.append(f"{PREFIX}{name}".upper())
    return names


def _refuse_unknown_variables() -> None:
    """The settings library only looks up what it knows, so a misspelt variable would pass in silence."""
    known = set(variables())
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known and name != f"{PREFIX}CONFORMANCE_DATA":
            raise SettingsError(f"{name} is not a setting{_closest(name.upper(), known)}")


def _line(problem: Any) -> str:
    # An unknown key of ``.env`` comes with its prefix, one of TOML without.
    variable = PREFIX + "__".join(str(part) for part in problem["loc"]).upper().removeprefix(PREFIX)
    if problem["type"] == "extra_forbidden":
        return f"{variable} is not a setting{_closest(variable, variables())}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{variable}: {message}" if problem["loc"] else message


def _closest(name: str, known: Any) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {matches[0]}?" if matches else f"; known: {', '.join(sorted(known))}"
