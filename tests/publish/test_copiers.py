"""Our copiers pass the suite of all copiers, between zones of every kind."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoetl.publish.copiers.data_factory import DataFactoryCopier
from geoetl.publish.copiers.objects import ObjectsCopier
from geoetl.publish.copiers.protocol import Copier
from geoetl.store.origins import Origins
from geoetl.testing.copiers import CopierConformance
from geoetl.testing.data_factory import LocalDataFactory
from tests.azurite import Azurite
from tests.s3 import S3Server


class InAzure(CopierConformance):
    """Between two containers."""

    @pytest.fixture(autouse=True)
    def _account(self, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in azurite.environment.items():
            monkeypatch.setenv(name, value)
        self.azurite = azurite

    def zone_urls(self, folder: Path) -> tuple[str, str]:
        return f"az://{self.azurite.new_container()}/geo/data", f"az://{self.azurite.new_container()}"


class InS3(CopierConformance):
    """Between two buckets."""

    @pytest.fixture(autouse=True)
    def _user(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        self.server = s3

    def zone_urls(self, folder: Path) -> tuple[str, str]:
        buckets = [f"test-{secrets.token_hex(6)}" for _ in range(2)]
        for bucket in buckets:
            (self.server.folder / bucket).mkdir()
        return f"s3://{buckets[0]}/geo", f"s3://{buckets[1]}/public/data"


class WithObjects(CopierConformance):
    def copier(self, origins: Origins) -> Copier:
        return ObjectsCopier(origins)


class WithDataFactory(CopierConformance):
    @pytest.fixture(autouse=True)
    def _factory(self) -> Iterator[None]:
        with LocalDataFactory() as azure:
            self.azure = azure
            yield

    def copier(self, origins: Origins) -> Copier:
        return DataFactoryCopier(
            origins, self.azure.factory(), self.azure.pipeline, has_folders=True, first_poll_s=0.005
        )


class TestObjectsBetweenFolders(WithObjects):
    pass


class TestObjectsInS3(WithObjects, InS3):
    pass


class TestObjectsInAzure(WithObjects, InAzure):
    pass


class TestObjectsFromAFolderToAzure(WithObjects, InAzure):
    def zone_urls(self, folder: Path) -> tuple[str, str]:
        return CopierConformance.zone_urls(self, folder)[0], super().zone_urls(folder)[1]


class TestDataFactoryBetweenFolders(WithDataFactory):
    pass


class TestDataFactoryInAzure(WithDataFactory, InAzure):
    pass
