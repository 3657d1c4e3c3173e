"""How a sweep's space is searched: the sampler, its seed, where it begins, and where a copy of its study is kept."""

import os
import re

from pydantic import Field, field_validator

from cogito_ray.base_spec import FROM_ENVIRONMENT, Spec, brief, without_secrets
from cogito_ray.sweeps.samplers import GridSpec, SamplerSpec, TpeSpec
from cogito_ray.sweeps.space.domains import Sample

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
"""That Optuna keeps studies in."""


class SearchSpec(Spec):
    """What proposes points of the space."""

    sampler: SamplerSpec = TpeSpec()
    """What draws the points: `tpe`, or with settings `{kind: tpe, startup_trials: 20}`."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the sampler; a run's own is `run.seed`."""
    start_with: tuple[Sample, ...] = ()
    """Points to try first, a value per dotted path; paths left out are drawn."""
    storage: str | None = None
    """URL of a database for a copy of Optuna's study, such as `postgresql://me:${DB_PASSWORD}@host/optuna`, where
    `${NAME}` is read from the environment and written nowhere; null = a journal in the sweep's folder.
    `optuna-dashboard` opens both."""
    warm_start: tuple[str, ...] = ()
    """Folders of earlier sweeps with the same goals over the same text, whose trials the sampler is told."""

    @property
    def is_grid(self) -> bool:
        """Is every point of the space tried once, and nothing drawn?"""
        return isinstance(self.sampler, GridSpec)

    @field_validator("storage")
    @classmethod
    def _keeps_its_secret(cls, url: str | None) -> str | None:
        """A sweep's settings stand in its ledger and report."""
        if url is None:
            return None
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        without_secrets(url)
        try:
            parts = make_url(url)
        except (ArgumentError, ValueError):
            raise ValueError("is no URL of a database; write for example sqlite:////data/optuna.db") from None
        known = ", ".join(f"{name}://" for name in DATABASES)
        unknown = ValueError(f"Optuna keeps no studies in {brief(parts.drivername)}; write one of {known}")
        if parts.get_backend_name() not in DATABASES:
            raise unknown
        try:
            parts.get_dialect()
        except NoSuchModuleError:
            raise unknown from None
        if parts.port is not None and not 0 < parts.port < 2**16:
            raise ValueError(f"has no port {parts.port}; write one of 1 to 65535, or leave it out")
        if "${" in FROM_ENVIRONMENT.sub("", url):
            raise ValueError("holds a ${ that names no variable; write ${NAME}")
        if parts.get_backend_name() == "sqlite" and parts.database in (None, "", ":memory:"):
            raise ValueError("is a database in memory, which nobody else could open; write sqlite:////data/optuna.db")
        if parts.password and not FROM_ENVIRONMENT.fullmatch(parts.password):
            raise ValueError("holds a password; write ${NAME} instead, and set NAME in the environment")
        return url

    def lacking(self) -> list[str]:
        """What this machine lacks of the database: variables, a driver."""
        if self.storage is None:
            return []
        from sqlalchemy import make_url

        named = sorted(set(re.findall(r"\$\{(\w+)\}", self.storage)) - os.environ.keys())
        faults = [f"search.storage: {name} is not set in the environment; export it" for name in named]
        try:
            make_url(self.storage).get_dialect().import_dbapi()
        except ImportError as missing:
            faults.append(f"search.storage: its driver is not installed here: {missing}; install it with pip")
        return faults or self._without_folder()

    def _without_folder(self) -> list[str]:
        """What keeps a file of sqlite from being made; servers are asked when the sweep starts, and may come later."""
        from sqlalchemy import make_url

        named = make_url(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], self.storage or ""))
        if named.get_backend_name() != "sqlite" or str(named.database).startswith("file:"):
            return []
        file = str(named.database)
        if os.path.isdir(file):
            return ["search.storage: this is a folder; name a file in it"]
        there = os.path.isdir(os.path.dirname(os.path.abspath(file)))
        return [] if there else ["search.storage: the folder of this file is not there; make it, or name another"]
