"""Settings, read once at the edge: from the environment (``GEOETL_…``), a ``.env`` file, or arguments.

Nested names are joined by two underscores: ``GEOETL_DATABASE__URL``.
"""

import json
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from geoetl.core.errors import ConfigurationError, did_you_mean
from geoetl.core.principal import Role

_PACKAGE = Path(__file__).resolve().parents[1]
# Fewer could be guessed; it is what Standard Webhooks asks for.
_MIN_WEBHOOK_SECRET = 24


def default_home() -> Path:
    """Return where state lives when nothing is said: ``.geoetl`` in the checkout, else the user's data folder."""
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "notebooks").is_dir():
        return checkout / ".geoetl"
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "geoetl"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Part):
    """The relational database. Without a URL it is SQLite in the home folder."""

    url: SecretStr | None = Field(None, description="postgresql+psycopg://… or sqlite:///…")


class ZoneSettings(_Part):
    """The object zones. Without a URL they are folders in the home folder."""

    internal: str | None = Field(None, description="URL of the internal zone: file://, s3://, az://, gs://")
    external: str | None = Field(None, description="URL of the external zone: file://, s3://, az://, gs://")


class DaskSettings(_Part):
    """Where heavy fan-out runs: unset means on this machine, in processes when the work is long."""

    address: str | None = Field(
        None,
        description="local: a cluster of this machine for each run; tcp://HOST:PORT or tls://HOST:PORT of a scheduler; "
        "ssh: a cluster on other hosts; gateway: one from dask-gateway",
    )
    workers: int = Field(2, ge=1, le=256, description="Worker processes on this machine, or of the gateway's cluster")
    memory_gib: float | None = Field(
        None, gt=0, description="Memory of each Dask worker that is started here or by ssh, GiB; unset: its share"
    )
    scratch: Path | None = Field(
        None, description="Folder where Dask workers of this machine keep what exceeds it; unset: in the home folder"
    )
    lost_workers: int = Field(3, ge=0, le=100, description="Dask workers that a task may lose before it has failed")
    silent_seconds: float = Field(
        60.0, ge=5, description="Time after which a silent Dask worker that was started is replaced, seconds"
    )
    start_seconds: float = Field(60.0, gt=0, description="Time that the first Dask worker may take to appear, seconds")
    tls_ca: Path | None = Field(None, description="Certificate of whoever signed those of the Dask cluster, PEM")
    tls_cert: Path | None = Field(None, description="Certificate to show to the Dask cluster, PEM")
    tls_key: Path | None = Field(None, description="Its key, PEM")
    hosts: tuple[str, ...] = Field(
        (), description="Hosts of an ssh cluster: of the scheduler, then of each worker; a JSON list"
    )
    python: str | None = Field(None, description="Python on these hosts; unset: at the same place as here")
    gateway: str | None = Field(None, description="Address of dask-gateway; unset: what Dask's own configuration says")

    @field_validator("address")
    @classmethod
    def _is_known(cls, address: str | None) -> str | None:
        if address in (None, "local", "ssh", "gateway"):
            return address
        try:
            parts = urlsplit(address)
            is_right = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port and not parts.path.strip("/")
        except ValueError:
            is_right = False
        if not is_right:
            raise ValueError("it is local, ssh, gateway, tcp://HOST:PORT or tls://HOST:PORT")
        return address

    @field_validator("scratch", "tls_ca", "tls_cert", "tls_key")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @model_validator(mode="after")
    def _is_enough(self) -> "DaskSettings":
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not all(files):
            raise ValueError("tls_ca, tls_cert and tls_key go together")
        if self.address and self.address.startswith("tls:") and not all(files):
            raise ValueError("tls:// needs tls_ca, tls_cert and tls_key")
        if self.address == "ssh" and len(self.hosts) < 2:
            raise ValueError("ssh needs hosts: that of the scheduler, then that of each worker")
        return self


class MapSettings(_Part):
    """The dashboard's base map; unset means our own Natural Earth land, without network."""

    tile_url: str | None = Field(None, description="XYZ template: https://tiles.example.org/{z}/{x}/{y}.png")
    attribution: str | None = Field(None, description="Attribution text of the tiles")


class LimitSettings(_Part):
    """What is refused before it is read."""

    raster_source_gib: float = Field(1.0, gt=0, le=20, description="Largest raster file to ingest, GiB")
    raster_pixels: int = Field(4_000_000_000, gt=0, description="Most pixels (width x height x bands) of a raster")
    vector_features: int = Field(5_000_000, gt=0, description="Most features of a vector file")
    archive_gib: float = Field(4.0, gt=0, description="Most bytes that a zip may unpack to, GiB")
    archive_members: int = Field(10_000, gt=0, description="Most members of a zip")
    chunk_gib: float = Field(1.0, gt=0, description="Most that one block or chunk may unpack to, GiB")
    cube_tib: float = Field(256.0, gt=0, description="Most that one variable of a cube may declare, TiB")
    axis_values: int = Field(20_000_000, gt=0, description="Most steps of a coordinate that is read when a cube opens")
    references: int = Field(50_000_000, gt=0, description="Most chunks that references may name")
    probe_memory_mib: int = Field(1024, ge=64, description="Memory that first opening an unknown file may take, MiB")
    probe_seconds: float = Field(20.0, gt=0, description="Time that first opening an unknown file may take, seconds")
    picture_pixels: int = Field(4096 * 4096, gt=0, description="Most pixels of a picture")
    kernel_memory_gib: float = Field(8.0, ge=0.5, description="Memory that a pipeline's kernel may use, GiB")
    run_minutes: float = Field(240.0, gt=0, description="Time that one pipeline run may take, minutes")


class QuerySettings(_Part):
    """What one question about values may ask for; boxes and times are bounded for HTTP alone."""

    max_bbox_area_degrees: float | None = Field(
        100.0, gt=0, description="Largest bbox of an extract over HTTP, square degrees"
    )
    max_time_range_days: int | None = Field(
        3650, gt=0, description="Longest range of time over HTTP, days (or steps, where there are fewer)"
    )
    max_read_gib: float = Field(4.0, gt=0, description="Most bytes that one question may unpack, GiB")
    max_chunks: int = Field(100_000, gt=0, description="Most chunks that one question may read")
    max_points: int = Field(1000, gt=0, description="Most points in one call")


class SecuritySettings(_Part):
    """Who may ask, under which names, and how people sign in."""

    session_hours: float = Field(12.0, gt=0, le=24 * 365, description="Time until a person signs in again, hours")
    anonymous: Role | None = Field(None, description="Role of whoever is not signed in; unset: nobody gets in")
    public_url: str | None = Field(None, description="Address that browsers use: https://geo.example.org")
    hosts: tuple[str, ...] = Field(
        (), description="Names that the server answers to, besides localhost and that of the public URL; a JSON list"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-… headers are believed; a JSON list"
    )
    oidc_issuer: str | None = Field(None, description="OpenID provider to sign in with: https://id.example.org/realm")
    oidc_client_id: str | None = Field(None, description="What the OpenID provider calls this server")
    oidc_client_secret: SecretStr | None = Field(None, description="Secret shared with the OpenID provider")
    oidc_scope: str = Field("openid profile email", description="What the OpenID provider is asked for")
    oidc_name_claim: str = Field("preferred_username", description="Claim that has the person's name")
    oidc_role_claim: str = Field("groups", description="Claim that has the person's groups or roles")
    oidc_roles: dict[str, Role] = Field(
        {}, description='Role of each group, of several the highest: {"gis-staff": "editor"}'
    )
    oidc_default_role: Role | None = Field(None, description="Role of whoever is in none of them; unset: kept out")

    @field_validator("anonymous")
    @classmethod
    def _is_least(cls, role: Role | None) -> Role | None:
        if role not in (None, Role.VIEWER):
            raise ValueError("strangers may be viewers and nothing more")
        return role

    @field_validator("public_url", "oidc_issuer")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("it is no address such as https://geo.example.org")
        return url.rstrip("/") if parts.path == "/" else url

    @field_validator("hosts")
    @classmethod
    def _are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or any(letter in host for letter in "/@?#*, "):
                raise ValueError(f"'{host}' is no host name such as geo.example.org")
        return tuple(host.lower().rstrip(".") for host in hosts)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)  # raises ValueError with the text
        return networks

    @property
    def is_for_one(self) -> bool:
        """Whether nothing says that others come here: only then this machine's browser needs no user."""
        return not (self.public_url or self.hosts or self.trusted_proxies or self.oidc_issuer)

    @model_validator(mode="after")
    def _is_whole(self) -> "SecuritySettings":
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("oidc_issuer needs oidc_client_id")
        return self


class DataFactorySettings(_Part):
    """The Azure Data Factory whose pipeline copies, where the copier is data_factory."""

    subscription_id: str | None = Field(None, description="Subscription of the Data Factory")
    resource_group: str | None = Field(None, description="Resource group of the Data Factory")
    factory_name: str | None = Field(None, description="Name of the Data Factory")
    pipeline: str = Field("geoetl-publish", description="Its pipeline that copies; see deploy/azure/data-factory")


class NotifySettings(_Part):
    """Who is told what happens to what is published: by e-mail, by webhooks. Unset: nobody."""

    smtp_host: str | None = Field(None, description="Mail server that takes e-mail; unset: none is sent")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls, tls from the first byte on, or none, within a trusted network"
    )
    smtp_user: str | None = Field(None, description="Who signs in to the mail server; unset: nobody does")
    smtp_password: SecretStr | None = Field(None, description="Password for it")
    sender: str | None = Field(None, description="Address that e-mail comes from: geoetl@example.org")
    reviewers: tuple[str, ...] = Field((), description="Addresses of those who approve; a JSON list")
    submitters: dict[str, str] = Field(
        {}, description='Addresses of those who submit, by their user names: {"anna": "anna@example.org"}'
    )
    webhooks: tuple[SecretStr, ...] = Field(
        (), description="http(s) addresses that are told by POST; a JSON list, not shown as some hold a key"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="What webhooks are signed with: whsec_ and base64, or any text of 24 letters or more"
    )

    @field_validator("sender")
    @classmethod
    def _is_mailbox(cls, address: str | None) -> str | None:
        return address and _checked_mailbox(address)

    @field_validator("reviewers")
    @classmethod
    def _are_mailboxes(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_checked_mailbox, addresses))

    @field_validator("submitters")
    @classmethod
    def _have_mailboxes(cls, addresses: dict[str, str]) -> dict[str, str]:
        return {name: _checked_mailbox(address) for name, address in addresses.items()}

    @field_validator("webhooks")
    @classmethod
    def _are_addresses(cls, webhooks: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, webhook in enumerate(webhooks, 1):
            url = webhook.get_secret_value()
            try:
                parts = urlsplit(url)
                is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:
                is_right = False
            if not is_right or parts.username or parts.password or not url.isascii() or not url.isprintable():
                raise ValueError(f"number {number} is no address such as https://chat.example.org/hook")
        return webhooks

    @field_validator("webhook_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _MIN_WEBHOOK_SECRET:
            raise ValueError(f"it has at least {_MIN_WEBHOOK_SECRET} letters")
        return secret

    @model_validator(mode="after")
    def _is_whole(self) -> "NotifySettings":
        if self.webhooks and self.webhook_secret is None:
            raise ValueError("webhooks need a webhook_secret")
        if self.smtp_host and not self.sender:
            raise ValueError("smtp_host needs a sender")
        if self.smtp_user and self.smtp_password is None:
            raise ValueError("smtp_user needs a smtp_password")
        if self.smtp_user and self.smtp_security == "none":
            raise ValueError("no password is sent without starttls or tls")
        return self

    @property
    def is_set(self) -> bool:
        """Whether anybody is told."""
        return bool(self.webhooks or (self.smtp_host and (self.reviewers or self.submitters)))


def _checked_mailbox(address: str) -> str:
    name, _, host = address.rpartition("@")
    if not name or not host or not address.isprintable() or any(letter in address for letter in ' ,;<>"()[]\\:'):
        raise ValueError(f"'{address[:60]}' is no address such as anna@example.org")
    return address


class PublishSettings(_Part):
    """How what was approved becomes public."""

    base_url: str | None = Field(
        None,
        description="Public address of the external zone: https://data.example.org; unset: the zone's own URL",
    )
    copier: str = Field("objects", description="What brings objects to the external zone: objects or data_factory")
    data_factory: DataFactorySettings = DataFactorySettings()
    notify: NotifySettings = NotifySettings()

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("it is no address such as https://data.example.org")
        return url.rstrip("/")


class ServerSettings(_Part):
    """What the HTTP server lets one request, one client and all of them together cost, and what it says of them."""

    body_mib: float = Field(1.0, gt=0, le=1024, description="Largest body of a request, MiB")
    item_body_mib: float = Field(16.0, gt=0, le=1024, description="Largest body that writes items, MiB")
    body_seconds: float = Field(20.0, gt=0, description="Time that each MiB of a body may take to arrive, seconds")
    header_seconds: float = Field(10.0, gt=0, description="Time that the headers of a request may take, seconds")
    header_kib: int = Field(64, ge=4, le=1024, description="Largest address and headers of a request, KiB")
    address_kib: int = Field(16, ge=1, le=64, description="Longest path and query of a request, KiB")
    query_parameters: int = Field(200, ge=1, description="Most parameters in a query")
    request_seconds: float = Field(60.0, gt=0, description="Time until an answer has to begin, seconds")
    keep_alive_seconds: int = Field(15, ge=1, description="Time that an idle connection is kept, seconds")
    connections: int = Field(1000, ge=8, description="Most connections at a time")
    pictures_at_once: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 2) - 1),
        ge=1,
        description="Pictures, tiles and readings that are made at a time; by default one fewer than processors",
    )
    pictures_apart: bool = Field(
        True,
        description="Make them in a process of their own, of some 250 MB, so that whatever else is asked never waits",
    )
    searches_at_once: int = Field(8, ge=1, description="Searches of the catalogue that run at a time")
    waiting: int = Field(64, ge=0, description="Requests that may wait for either of these")
    waiting_seconds: float = Field(15.0, gt=0, description="Time that a request waits for them, seconds")
    requests_per_minute: int | None = Field(None, ge=1, description="Most requests of one client in a minute")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged, and above")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="JSON lines, text for people, or auto: text on a terminal"
    )


class Settings(BaseSettings):
    """All settings of one process; frozen, passed down as values."""

    model_config = SettingsConfigDict(
        env_prefix="GEOETL_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    home: Path = Field(default_factory=default_home, description="Folder where state lives")
    allowed_roots: tuple[Path | str, ...] = Field(
        (),
        description="Folders that sources may lie in, besides the working and home folder, and URLs of places in "
        "object stores (s3://BUCKET/PREFIX) that those of virtual cubes may; a JSON list",
    )
    places: Path | None = Field(
        None, description="File of named places and boundaries; unset: the one that comes along, catalogs/places.yaml"
    )
    schedules: Path | None = Field(
        None, description="File of what runs by itself; unset: the one that comes along, catalogs/schedules.yaml"
    )
    managed: Path | None = Field(
        None, description="Folder of declared managed datasets; unset: those that come along, catalogs/managed"
    )
    database: DatabaseSettings = DatabaseSettings()
    zones: ZoneSettings = ZoneSettings()
    dask: DaskSettings = DaskSettings()
    map: MapSettings = MapSettings()
    limits: LimitSettings = LimitSettings()
    query: QuerySettings = QuerySettings()
    server: ServerSettings = ServerSettings()
    publish: PublishSettings = PublishSettings()
    security: SecuritySettings = SecuritySettings()

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("allowed_roots")
    @classmethod
    def _all_absolute(cls, roots: tuple[Path | str, ...]) -> tuple[Path | str, ...]:
        return tuple(
            root.rstrip("/") if isinstance(root, str) and "://" in root else Path(root).expanduser().resolve()
            for root in roots
        )

    @property
    def local_roots(self) -> tuple[Path, ...]:
        """The allowed roots that are folders."""
        return tuple(root for root in self.allowed_roots if isinstance(root, Path))

    @property
    def remote_roots(self) -> tuple[str, ...]:
        """The allowed roots that are URLs."""
        return tuple(root for root in self.allowed_roots if isinstance(root, str))

    @property
    def database_url(self) -> str:
        """The database's URL, with its password."""
        return self.database.url.get_secret_value() if self.database.url else f"sqlite:///{self.home / 'geoetl.db'}"

    @property
    def internal_url(self) -> str:
        """The internal zone's URL."""
        return self.zones.internal or (self.home / "internal").as_uri()

    @property
    def external_url(self) -> str:
        """The external zone's URL."""
        return self.zones.external or (self.home / "external").as_uri()


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raises:
        ConfigurationError: A value is not right, the message names the variable; or there is no such setting.
    """
    for name in overrides:
        if name not in Settings.model_fields:
            raise ConfigurationError(
                f"There is no setting '{name}'.", hint=did_you_mean(name, Settings.model_fields), field=name
            )
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except SettingsError as error:
        field = str(error).partition('"')[2].partition('"')[0]
        raise ConfigurationError(
            f"The setting {variable_name(field)} is not valid JSON.",
            hint='A list is written as ["/data", "/more"]; the parts of a group are set one by one, joined by "__".',
            field=variable_name(field),
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = "GEOETL_" + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(
            f"The setting {name} is not right: {first['msg']}.",
            hint="Correct or unset it; without it `geoetl config show` lists every setting with its meaning.",
            field=name,
        ) from None


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process these settings."""
    variables: dict[str, str] = {}
    for name, value in settings_values(settings):
        if value is None:
            continue
        variable = variable_name(name)
        if isinstance(value, SecretStr):
            variables[variable] = value.get_secret_value()
        elif isinstance(value, tuple):
            parts = (part.get_secret_value() if isinstance(part, SecretStr) else str(part) for part in value)
            variables[variable] = json.dumps(list(parts))
        elif isinstance(value, dict):
            variables[variable] = json.dumps(value)
        else:
            variables[variable] = str(value)
    return variables


def settings_values(settings: Settings) -> list[tuple[str, Any]]:
    """Return every setting as (dotted name, value), in the order of their declaration."""
    return _values_of(settings, "")


def _values_of(part: BaseModel, before: str) -> list[tuple[str, Any]]:
    values: list[tuple[str, Any]] = []
    for name in type(part).model_fields:
        value = getattr(part, name)
        values += _values_of(value, f"{before}{name}.") if isinstance(value, _Part) else [(before + name, value)]
    return values


def meaning(name: str) -> str:
    """Return what a setting is for, by its dotted name."""
    head, *tail = name.split(".")
    field = Settings.model_fields[head]
    for inner in tail:
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        field = field.annotation.model_fields[inner]
    return field.description or ""


def variable_name(name: str) -> str:
    """Return the environment variable of a setting, by its dotted name."""
    return "GEOETL_" + name.replace(".", "__").upper()
