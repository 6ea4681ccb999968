"""Section ``dataset``: where recordings come from."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from retimbre.datasets.sources.catalogue import LOCAL_SOURCES, SOURCES
from retimbre.section import Count, Name, NonNegative, Positive, Section, Share


class Dataset(Section):
    source: str | dict[Name, str]
    domains: Annotated[list[Name], Field(min_length=1)]
    train_minutes: NonNegative
    validation_pieces: Count
    test_pieces: Count
    excerpt_s: Positive
    polyphonic_share: Share
    paired_training: bool
    shared_range: bool
    soundfont: str | None
    folders: dict[Name, str]
    max_unreadable_share: Share
    limit_hours: NonNegative
    archives: str | None
    keep_archives: bool
    youtube: dict[Name, Annotated[list[str], Field(min_length=1)]]

    @field_validator("source", mode="before")
    @classmethod
    def _known(cls, source: Any) -> Any:
        for name in source.values() if isinstance(source, dict) else [source]:
            if name not in (known := (*LOCAL_SOURCES, *SOURCES)):
                raise ValueError(
                    f"dataset.source names {name!r}: use one of {', '.join(known)}, or one per domain: "
                    f"{{piano: maestro, ...}}"
                )
        return source

    @model_validator(mode="after")
    def _sources(self) -> "Dataset":
        if len(set(self.domains)) != len(self.domains):
            raise ValueError("dataset.domains names a domain twice: give different ones")
        if isinstance(self.source, dict) and (missing := [d for d in self.domains if d not in self.source]):
            raise ValueError(
                f"dataset.source has no entry for {missing[0]!r}: add `{missing[0]}: folder` or another "
                "source"
            )
        of_domain = self.source_of
        if missing := [d for d in self.domains if of_domain[d] == "folder" and d not in self.folders]:
            raise ValueError(
                f"dataset.folders has no entry for {missing[0]!r}: add `{missing[0]}: "
                "/path/of/its/recordings`"
            )
        if missing := [d for d in self.domains if of_domain[d] == "youtube" and d not in self.youtube]:
            raise ValueError(
                f"dataset.youtube has no entry for {missing[0]!r}: add `{missing[0]}: [address of a video "
                "or playlist, ...]`"
            )
        if "soundfont" in of_domain.values() and self.train_minutes == 0:
            raise ValueError("dataset.train_minutes must be above 0 for source soundfont")
        if self.paired_training and not self.shared_range:
            raise ValueError("dataset.paired_training needs dataset.shared_range: set it to true")
        if self.paired_training and set(of_domain.values()) != {"soundfont"}:
            raise ValueError(
                "dataset.paired_training: only source soundfont plays every piece on all domains: set it to "
                "false"
            )
        return self

    @property
    def source_of(self) -> dict[str, str]:
        """The source of each domain, in the domains' order."""
        return {
            domain: self.source[domain] if isinstance(self.source, dict) else self.source
            for domain in self.domains
        }
