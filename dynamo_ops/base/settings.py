"""How the installation works: read from its ``dynamo.yaml``, overridden by ``DYNAMO_…`` variables.

``DYNAMO_HOME``        the installation (``installation``: without it, the ``dynamo.toml`` of this folder or one above
names it): what Dynamo makes is there, embedded database, plans, listings
``DYNAMO_CONFIG_DIR``  a folder of ``dynamo.yaml``, ``partitions.txt``, ``gates.yaml``, … in the place of its own
``DYNAMO_POLICY_DIR``  a folder of policies, one ``<partition>.txt`` each, in the place of its own
``DYNAMO_DB_URL``      PostgreSQL in the place of its own
``DYNAMO_AIRFLOW_DB_URL``  Airflow's own database, for the one task that trims its history

Without an installation, configuration and policies are the shipped ones, to be tried: no home, and no database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dynamo_ops.base.config_file import Bytes, SiteGlob, Strict, Terabytes, faults_of, of_site, read_yaml
from dynamo_ops.base.errors import Fault, SettingsError
from dynamo_ops.base.installation import MARKER, SHIPPED, Installation, find_installation, no_installation
from dynamo_ops.base.patience import Healing, Illness, Moving, ServerLimits, SiteChecksums, Suspension, Verification
from dynamo_ops.base.units import TB

MAIN_FILE = "dynamo.yaml"
MANAGED_PREFIX = "/store"
"""As shipped."""

RoleName = Literal["viewer", "user", "producer", "manager", "site_admin", "operator", "admin"]
"""Those of ``access.person.Role``."""


class Tls(Strict):
    """Credentials towards HTTPS services."""

    ca: Path | None = None
    """File of the authorities that are trusted; without it the system's."""
    cert: Path | None = None
    """Our certificate, as PEM."""
    key: Path | None = None
    """Its key."""

    @property
    def authorities(self) -> str:
        """The file of trusted authorities: ``ca``, or the system's."""
        found = self.ca or get_default_verify_paths().cafile
        if found is None:
            message = "tls.ca: not set, and this system has no file of trusted authorities"
            raise SettingsError(message, file="", key="tls.ca", reason="no authorities")
        return str(found)


class SourceSettings(Strict):
    """One source plugin (docs/sources.md)."""

    name: str
    """What it is called, in messages and in the inventory."""
    type: str
    """The entry point of the plugin."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its own settings: addresses, patterns, …"""


class LinkSettings(Strict):
    """Links: pairs of sites, from one to the other."""

    sources: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    """Names or globs of sites that are read; `!glob` excludes, later ones win."""
    destinations: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    """Names or globs of sites that are written; `!glob` excludes, later ones win."""


class FtsServerSettings(LinkSettings, ServerLimits):
    """One of several FTS 3 servers, and the links that it takes."""

    url: str = Field(min_length=1)
    """Its address."""
    monitor_url: str | None = None
    """An address to which the id of a job is appended; without it the page of the server itself."""

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        """One spelling: batches know their server by it."""
        return url.rstrip("/")


class FtsSettings(Moving):
    """The FTS 3 servers and how they are asked. FTS stages from tape and watches what goes onto tape for certificates
    only."""

    url: str | None = "https://localhost:8446"
    """The one server of every link; null, and no `servers`: there is no FTS, all copies are direct."""
    servers: list[FtsServerSettings] = Field(default_factory=list)
    """Several servers instead of `url` and `monitor_url`; the first that names a link takes it."""
    token_file: Path | None = None
    """A bearer token (read anew at each use) instead of the certificate of `tls`."""
    monitor_url: str | None = None
    """An address to which the id of a job is appended; without it the page of the server itself."""
    poll_interval_s: float = Field(30, gt=0)
    """How often jobs are asked for."""
    timeout_h: float = Field(6, gt=0)
    """How long a run of the DAG waits for its jobs before it leaves them to the next runs."""
    stuck_after_h: float = Field(24, gt=0)
    """A job that still copies that long after its submit is cancelled and tried anew (one from tape `bring_online_s`
    later, one to tape `archive_timeout_s`)."""
    files_per_job: int = Field(200, ge=1, le=5000)
    """Files of a job that reads from disk."""
    max_time_in_queue_h: int = Field(24, ge=1)
    """FTS gives up on what it could not start by then; it is tried again."""
    bring_online_s: int = Field(28_800, ge=1)
    """A file that a tape has not brought online by then has failed."""
    pin_s: int = Field(64_800, ge=1)
    """How long the disk copy of a file from tape is held."""
    archive_timeout_s: int = Field(86_400, ge=1)
    """What arrived at a tape site and is not on tape that much later has failed; the next attempts look there."""
    retries: int = Field(2, ge=0)
    """FTS's own extra attempts within a job."""
    retry_delay_s: int = Field(60, ge=0)
    """The pause between FTS's own attempts."""

    @model_validator(mode="after")
    def _one_form(self) -> FtsSettings:
        given = self.model_fields_set & {name for name in ("url", "monitor_url") if getattr(self, name) is not None}
        if self.servers and given:
            beside = " and ".join(sorted(given, reverse=True))
            raise ValueError(
                f"{beside} beside servers: both name FTS servers; name all in servers, or one by url without servers"
            )
        return self

    @property
    def named_servers(self) -> list[FtsServerSettings]:
        """The servers, whichever form they are given in; none: there is no FTS."""
        if self.servers or self.url is None:
            return self.servers
        return [FtsServerSettings(url=self.url, monitor_url=self.monitor_url)]


FTS = FtsSettings()
"""As shipped."""


class ActivitySettings(Strict):
    """How urgent copies are."""

    priority: int = Field(3, ge=1, le=5)
    """FTS's own; 5 is the most urgent."""
    head_start_h: float = Field(0, ge=0)
    """Such a subscription counts as that much older than it is: it goes first, and yet nothing waits for ever."""


ACTIVITIES: dict[str, ActivitySettings] = {
    "recovery": ActivitySettings(priority=4, head_start_h=48),
    "request": ActivitySettings(priority=4, head_start_h=24),
    "rebalancing": ActivitySettings(priority=2),
}
"""Repairs (consistency, replicas that lack files), users' requests, everything else that the Dealer places."""


class Archived(StrEnum):
    """When a copy at a tape site is one. ``on_tape``: when the storage says that it is. ``on_arrival``: when it has
    arrived, since the storage cannot tell."""

    ON_TAPE = "on_tape"
    ON_ARRIVAL = "on_arrival"


class SiteTransfers(SiteChecksums):
    """What transfers may do at one site."""

    files_to_site: int = Field(10_000, ge=1)
    """Files under way to a site."""
    files_from_site: int = Field(10_000, ge=1)
    """Files under way from a site."""
    files_staging_per_site: int = Field(20_000, ge=1)
    """Files of a tape site that are not online yet."""
    archived: Archived = Archived.ON_TAPE
    """When a copy at a tape site counts: when its storage says that it is on tape, or, where it cannot, on arrival."""

    @field_validator("archived", mode="before")
    @classmethod
    def _is_of_all_sites(cls, archived: object) -> object:
        if isinstance(archived, Mapping):
            entries = ", ".join(f"{json.dumps(str(site))}: {{archived: {word}}}" for site, word in archived.items())
            raise ValueError(f"values by site stand in sites now; write transfers: {{sites: {{{entries}}}}}")
        return archived


class TransferSettings(SiteTransfers, Suspension, Illness, Verification):
    """How many files may be under way at once, and how patient transfers are (docs/transfers.md)."""

    files_per_cycle: int = Field(50_000, ge=1)
    """Files that one run takes up."""
    files_in_flight: int = Field(200_000, ge=1)
    """Files under way in all; what exceeds it stays queued, as for those below."""
    files_per_link: int = Field(5_000, ge=1)
    """Files under way from one site to another."""
    files_per_staging_job: int = Field(1_000, ge=1, le=5000)
    """Files of a job that reads from tape."""
    look_ahead: int = Field(1_000_000, ge=1)
    """Queued copies looked at in a cycle, so that a full link is not in the way of others."""
    backoff_s: float = Field(300, ge=0)
    """Pause before a file's second attempt, doubled with each more."""
    max_backoff_s: float = Field(43_200, ge=0)
    """The longest pause."""
    multi_source_after: int = Field(2, ge=1)
    """Failed attempts after which FTS is given several sources of a file at once, in a job of its own."""
    multi_source_per_cycle: int = Field(500, ge=0)
    """Such jobs in one run."""
    activities: dict[str, ActivitySettings] = Field(default_factory=lambda: dict(ACTIVITIES))
    """How urgent copies are, by activity: recovery, request, rebalancing, default."""
    direct: list[LinkSettings] = Field(default_factory=list)
    """Links that Dynamo copies by itself, without FTS."""
    direct_files_at_once: int = Field(4, ge=1, le=64)
    """Files that one task of direct copies has under way."""
    direct_tasks: int = Field(8, ge=1, le=64)
    """Such tasks in one run."""
    files_per_direct_batch: int = Field(50, ge=1)
    """Files that such a task takes at once."""
    direct_files_per_record: int = Field(20, ge=1)
    """It records what it did every so many files, …"""
    direct_record_every_s: float = Field(30, gt=0)
    """… or when the last record is so long ago."""
    sites: dict[SiteGlob, SiteTransfers] = Field(default_factory=dict)
    """By name or glob of sites, what differs there; later ones win."""

    def at(self, site: str) -> Self:
        """These settings as they are at a site."""
        return of_site(self, self.sites, site)

    @property
    def on_arrival(self) -> tuple[str, ...]:
        """The tape sites whose copies count when they arrive, as a list for ``glob.is_named``."""
        entries: dict[str, SiteTransfers] = {"*": self, **self.sites}
        return tuple(
            glob if own.archived == Archived.ON_ARRIVAL else f"!{glob}"
            for glob, own in entries.items()
            if "archived" in own.model_fields_set
        )

    @field_validator("activities")
    @classmethod
    def _known_activities(cls, given: dict[str, ActivitySettings]) -> dict[str, ActivitySettings]:
        """Those that are not named are as shipped; others than those there are would never be used."""
        unknown = sorted(given.keys() - {*ACTIVITIES, "default"})
        if unknown:
            raise ValueError(f"no activity {unknown[0]!r}; there are {', '.join([*ACTIVITIES, 'default'])}")
        return ACTIVITIES | given


TRANSFERS = TransferSettings()
"""As shipped."""


class ProtocolSettings(Strict):
    """In which order protocols are taken, of those in a site's endpoints; what is not named is not used."""

    own: tuple[str, ...] = Field(("davs", "https", "root", "s3", "file"), min_length=1)
    """When Dynamo itself deletes, lists and copies; each is an entry point of `dynamo_ops.storages`."""
    fts: tuple[str, ...] = Field(("davs", "https", "root", "srm"), min_length=1)
    """In FTS's jobs, for which two sites must share one."""


PROTOCOLS = ProtocolSettings()
"""As shipped."""


class MailSettings(Strict):
    """Who is told of failures. The mail server itself is Airflow's connection ``smtp_default``."""

    sender: str = "dynamo@localhost"
    """Whom mails come from."""
    recipients: list[str] = Field(default_factory=list)
    """Who gets them; nobody: failures are seen in the UI and in the logs only."""


class WebhookSettings(Strict):
    """A chat or any other service that takes a POST of JSON."""

    url: str = Field(pattern=r"^https?://")
    """Its address; it often holds a secret, and is never shown."""
    text_key: str = "text"
    """Under which key it wants the text: `text` for Mattermost, Slack and most others."""
    headers: dict[str, str] = Field(default_factory=dict)
    """For example a token."""
    ca: Path | None = None
    """The authorities that it is verified with; without it the system's, not those of `tls` (these are the grid's)."""
    timeout_s: float = Field(10, gt=0)
    """How long it may take to answer."""


class AlertSettings(Strict):
    """Who is told besides the recipients of ``mail``, and how often (docs/alerts.md)."""

    webhooks: list[WebhookSettings] = Field(default_factory=list)
    """Chats."""
    repeat_after_h: float = Field(6, gt=0)
    """The same failure is told again when it still happens that long after the last message; in between it is
    counted."""
    stale_after_h: float = Field(6, gt=0)
    """The daily digest warns of metadata that are older."""


class PopularitySettings(Healing):
    """How use becomes attributes (docs/popularity.md)."""

    wait_h: float = Field(3, ge=0)
    """How long after the end of its day a run waits for sources to be complete."""
    repull_days: int = Field(1, ge=0, le=30)
    """Days before its own that a run pulls again, of sources that cannot tell what changed."""
    look_back_days: int = Field(14, ge=1, le=366)
    """How far back a run looks for days whose data changed."""
    demand_half_life_days: float = Field(3, gt=0)
    """A submitted job weighs half after that long, …"""
    demand_days: int = Field(30, ge=1)
    """… and nothing after that long."""
    keep_unknown_days: int = Field(60, ge=1)
    """How long use of what the inventory does not know (yet) is kept by name."""


class SiteStatusSettings(Strict):
    """How soon a site follows what its source says. A site seen first follows at once."""

    stable_h: float = Field(2, ge=0)
    """So long a status must be reported without a break before the site becomes ready or morgue; meanwhile it is in the
    waitroom."""


class RetrySettings(Strict):
    """How often and how soon a task is tried again after an error that may pass."""

    count: int = Field(5, ge=0, le=50)
    """Times."""
    delay_s: float = Field(60, gt=0)
    """The first pause; it doubles."""
    max_delay_s: float = Field(1800, gt=0)
    """The longest pause."""


class SiteDeletions(Strict):
    """How the storage of one site is asked to delete and to list, and to give and take what Dynamo copies itself."""

    files_per_site: int = Field(20_000, ge=1)
    """Files of a site that one run takes up."""
    threads: int = Field(8, ge=1, le=64)
    """Calls to a storage at once, …"""
    calls_per_s: float = Field(200, gt=0)
    """… and in a second."""
    connect_timeout_s: float = Field(10, gt=0)
    """How long a storage may take to be reached."""
    read_timeout_s: float = Field(120, gt=0)
    """How long a storage may be silent."""


class DeletionSettings(SiteDeletions):
    """How storages are asked to delete and to list, and to give and take what Dynamo copies itself."""

    files_per_batch: int = Field(2_000, ge=1)
    """Files of a batch, which is of one site."""
    files_per_cycle: int = Field(100_000, ge=1)
    """Files that one run takes up."""
    files_per_chunk: int = Field(500, ge=1)
    """Files that are judged, deleted and recorded together."""
    backoff_s: float = Field(900, ge=0)
    """Pause before a file's second attempt, doubled with each more."""
    max_backoff_s: float = Field(86_400, ge=0)
    """The longest pause."""
    max_refusals: int = Field(3, ge=1)
    """A deletion is held for a person (`refused`) after so many attempts that the storage refuses: hours."""
    max_attempts: int = Field(10, ge=1)
    """A deletion is held for a person (`all_failed`) after so many attempts at a storage that cannot serve: days."""
    max_wait_days: float = Field(7, gt=0)
    """A deletion whose file must stay (last copy or source, lock) is taken back after so long at an available site."""
    sites: dict[SiteGlob, SiteDeletions] = Field(default_factory=dict)
    """By name or glob of sites, what differs there; later ones win."""

    def at(self, site: str) -> Self:
        """These settings as they are at a site."""
        return of_site(self, self.sites, site)


DELETION = DeletionSettings()
"""As shipped."""


class DetoxSettings(Strict):
    """How Detox decides (docs/detox.md)."""

    deletion_per_iteration: float = Field(0.01, gt=0, le=1)
    """Fraction of a site's quota that is deleted there before all is looked at again."""
    protected_sites: list[str] = Field(default_factory=list)
    """Names of sites; a replica there makes `dataset.on_protected_site` true."""


DETOX = DetoxSettings()
"""As shipped."""


class RequestSettings(Strict):
    """What one person may ask for (docs/requests.md)."""

    max_open_per_user: int | None = Field(1_000, ge=1)
    """Requests of theirs that are open at once; null: no limit."""
    max_size_tb: Terabytes | None = Field(1_000, gt=0)
    """Of all copies of one copy request together, or of what one deletion request deletes; null: no limit."""
    max_copies: int | None = Field(20, ge=1)
    """Of one copy request, "one at each" counted by sites; null: no limit."""


class ProxySettings(Strict):
    """A server before Airflow's that asks its callers for certificates, and tells whose they are (docs/access.md)."""

    secret: str = Field(min_length=32)
    """What it sends in the header `X-Dynamo-Proxy`, 32 characters at least. Who knows it can be anybody here."""
    header: str = "X-SSL-Client-DN"
    """The header with the DN of a certificate that it has verified. It lets none of its callers' through."""


class IssuerSettings(Strict):
    """Who issues JWTs that are believed: IAM, Keycloak, CILogon, … (docs/access.md)."""

    issuer: str = Field(pattern=r"^https?://")
    """The claim `iss`, to the letter."""
    audience: str
    """What must be in the claim `aud`: a token that was made for others is none for us."""
    keys: str | None = Field(None, pattern=r"^https?://")
    """Where its keys are (JWKS); null: where its OpenID configuration says."""
    ca: Path | None = None
    """The authorities that it is verified with; without it the system's."""
    person_claim: str | None = None
    """The claim with the name that Airflow's auth manager has for somebody, such as `preferred_username`, if people
    cannot choose it themselves; null: `dynamo access identity` says whose a subject is."""
    groups_claim: str = "wlcg.groups"
    """The claim with groups. Each is a role: `dynamo access grant @/cms/ops operator`, or `access.map`."""


class AccessSettings(Strict):
    """Who may do what over the network (docs/access.md, docs/rest.md)."""

    map: dict[str, list[RoleName]] = Field(default_factory=dict)
    """Roles of Airflow's auth manager, and what they are to us: `{expert: [operator]}`. Those that are not named are as
    shipped (viewer, user, op, admin); an empty list is nothing."""
    default: Literal["viewer"] | None = "viewer"
    """What somebody is who is logged in and holds nothing; null: nothing, and may not even read."""
    roles_seen_days: int = Field(30, ge=0)
    """Tokens and certificates tell no roles: those of their owner's logins not longer ago count. 0: none do."""
    hosts: list[str] = Field(default_factory=list)
    """Names or globs under which the API is called, without a port, besides that of Airflow's `[api] base_url` and this
    machine's own (localhost, 127.0.0.1, ::1)."""
    proxies: list[ProxySettings] = Field(default_factory=list)
    """Servers that are believed whose a certificate is."""
    issuers: list[IssuerSettings] = Field(default_factory=list)
    """Whose JWTs are believed."""
    free_size: Bytes = Field(10 * TB, ge=0)
    """Copies of so much are had without approval."""


class Settings(BaseSettings):
    """All settings of one installation."""

    model_config = SettingsConfigDict(
        env_prefix="DYNAMO_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path | None = None
    config_dir: Path = SHIPPED / "config"
    policy_dir: Path = SHIPPED / "policies"
    db_url: str | None = None
    managed_prefix: str = MANAGED_PREFIX
    """What is ours: LFNs are expected there (`gates.yaml`), and nothing outside is deleted or listed."""
    history_keep_days: int = Field(731, ge=366)
    """How long it is remembered what Detox and Dealer did."""
    plan_location: str | None = None
    """Where plans' rows go, a folder or a URL that fsspec knows; without it `frames` in the home."""
    airflow_db_url: str | None = None
    """Airflow's own database, for housekeeping, which trims its history."""
    metadata_sources: list[SourceSettings] = Field(default_factory=list)
    """Datasets, blocks, files; types are entry points of `dynamo_ops.metadata_sources`."""
    site_sources: list[SourceSettings] = Field(default_factory=list)
    """Sites and their status; types are entry points of `dynamo_ops.site_sources`."""
    access_sources: list[SourceSettings] = Field(default_factory=list)
    """Accesses by dataset, site and day; types are entry points of `dynamo_ops.access_sources`."""
    demand_sources: list[SourceSettings] = Field(default_factory=list)
    """Jobs submitted, by dataset and day; types are entry points of `dynamo_ops.demand_sources`."""
    metadata_schedule: str = "@hourly"
    """Cron expression (UTC) of `metadata_sync`; each run owns the interval since the one before."""
    popularity: PopularitySettings = PopularitySettings()
    site_status: SiteStatusSettings = SiteStatusSettings()
    tls: Tls = Tls()
    fts: FtsSettings = Field(default_factory=FtsSettings)  # a default value would count as given, ``url`` too
    transfers: TransferSettings = TRANSFERS
    deletion: DeletionSettings = DELETION
    protocols: ProtocolSettings = PROTOCOLS
    storages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What single storage plugins need, by protocol, or for one site by `protocol:SITE` (of `s3`: endpoint_url, key,
    secret, token, region; of `davs` and `https`: hosts, names or globs of those that its doors send on to)."""
    retries: RetrySettings = RetrySettings()
    mail: MailSettings = MailSettings()
    alerts: AlertSettings = AlertSettings()
    detox: DetoxSettings = DETOX
    requests: RequestSettings = RequestSettings()
    access: AccessSettings = AccessSettings()
    events: dict[str, Any] = Field(default_factory=dict)
    """What people are told of when it happens (docs/events.md)."""
    damage: dict[str, Any] = Field(default_factory=dict)
    """When copies become suspicious, and how long an invalidation can be taken back (docs/bad-copies.md)."""
    keep: dict[str, Any] = Field(default_factory=dict)
    """How long what is long over is kept (docs/operating.md)."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment variables win over the values read from the file."""
        return (env_settings, init_settings)

    @field_validator("home")
    @classmethod
    def _whole(cls, home: Path | None) -> Path | None:
        """The names of plans' files are stored: they must be good from any folder."""
        return home and home.expanduser().absolute()

    def at_home(self, name: str) -> Path:
        """A file or folder of the home. Raises SettingsError if there is no installation."""
        if self.home is None:
            raise no_installation()
        return self.home / name

    def files_at(self, *parts: str) -> str:
        """Where big frames go (an fsspec location): ``plan_location`` or ``home/frames``, with ``parts`` behind."""
        return "/".join([(self.plan_location or str(self.at_home("frames"))).rstrip("/"), *parts])


class _Place(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="DYNAMO_", extra="ignore")

    config_dir: Path | None = None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once. ``settings.cache_clear()`` reads them again."""
    installation = find_installation()
    return read_settings(config_folder(installation) / MAIN_FILE, installation)


def config_folder(installation: Installation | None) -> Path:
    """The configuration folder of this process: that of the variable, of the installation, or the shipped one."""
    return _Place().config_dir or (installation.config_dir if installation else SHIPPED / "config")


def read_settings(path: Path, installation: Installation | None = None) -> Settings:
    """Settings from ``path``, the environment, and the places of ``installation``.

    Raises SettingsError naming the file, the key (or variable) and the reason of every fault found.
    """
    values = read_yaml(path)
    if installation:
        _add_places(values, path, installation)
    values.setdefault("config_dir", path.parent)
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _with_variables(faults_of(error, Settings, str(path))) from None  # it repeats the values, secrets too


def _add_places(values: dict[str, Any], path: Path, installation: Installation) -> None:
    """Where things are is said once."""
    for name, place in installation.places.items():
        if name in values:
            reason = f"{installation.home / MARKER} says it; remove it from this file"
            raise SettingsError(f"{path}: {name}: {reason}", file=str(path), key=name, reason=reason)
        values[name] = place


def _with_variables(faults: Sequence[Fault]) -> SettingsError:
    """All ``faults``, one a line, with the variable that each can come from."""
    error = SettingsError.of(faults)
    lines = []
    for fault in faults:
        variable = f"DYNAMO_{fault.key.upper().replace('.', '__')}"
        lines.append(f"{fault.file}: {fault.key or '(whole file)'} (or variable {variable}): {fault.reason}")
    return SettingsError("\n".join(lines), **error.facts)
