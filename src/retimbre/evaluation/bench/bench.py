"""The bench of a project: its test set, the rows that its params name, and what is measured on them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas

from retimbre.classifiers.forest import ForestClassifier
from retimbre.classifiers.panel import Classifiers
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.evaluation.bench import probes, scoring, suite
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.copy_synthesis import copy_synthesis_figures
from retimbre.evaluation.bench.likelihood import likelihood_figures
from retimbre.evaluation.bench.processes import side_by_side
from retimbre.evaluation.bench.ranges import Ranges, with_ranges
from retimbre.evaluation.bench.rows import Row, all_rows
from retimbre.evaluation.bench.scores import heard_targets, score_records, with_scores
from retimbre.evaluation.bench.sets import fit_real
from retimbre.evaluation.bench.testset import Item, load_items
from retimbre.evaluation.results import table
from retimbre.nn.transcriber.notes import NoteTranscriber
from retimbre.provenance import code_of, digest_with_code
from retimbre.systems import catalogue
from retimbre.systems.base import Spectral
from retimbre.systems.baselines.catalogue import fit_baselines
from retimbre.systems.controls import EQUALISERS, EqualiserChange
from retimbre.vocoders.catalogue import Vocoders


class Bench:
    """Test set, rows, scorer and cache of a project. ``p``: the params' sections."""

    def __init__(self, p: Any, models: Path, raw: Path):
        self.p, self.models, self.raw, self.data = p, models, raw, Data()
        self.vocoders = Vocoders.load(models / "vocoder", p.rendering, list(p.vocoders))
        self.classifiers = Classifiers.load(models / "classifier")
        self.cache = Cache.of_project(p.machine.cache_mb)
        self.representation: str = p.vocoder.representation
        self.domains = self.data.features.domains[:2]
        if len(self.domains) < 2:
            raise RetimbreError(
                "dataset.domains names one instrument, and evaluate compares two directions: add another, or "
                "try what is trained with `retimbre transfer`."
            )
        self.names = (*catalogue.DEFAULTS, *p.systems)

    def items(self) -> list[Item]:
        """The test set in both directions."""
        items = load_items(self.data.audio, self.data.features, self.representation, self.domains)
        items = with_scores(items, self.raw)
        return with_ranges(items, Ranges(self.raw, self.data.audio, NoteTranscriber, self.cache))

    def rows(self) -> list[Row]:
        """Controls, vocoders alone, baselines and the params' systems, each as it is to be heard."""
        default, features = self.vocoders.by(), self.data.features
        equalisers = [
            Spectral(name, EqualiserChange(features, self.representation, affine), default)
            for name, affine in EQUALISERS.items()
        ]
        systems = {}
        for name in self.names:
            first = catalogue.load(name, self.models, default)
            kinds = self.p.evaluate.vocoders.get(name, []) if isinstance(first, Spectral) else []
            others = [self.vocoders.by(kind) for kind in kinds if kind != default.kind]
            systems[name] = [first, *(Spectral(name, first.change, vocoder) for vocoder in others)]
        alone = [self.vocoders.by(kind) for kind in self.vocoders.kinds]
        return all_rows(equalisers, alone, fit_baselines(self.data, self.p.baselines, self.p.seed), systems)

    def make_scorer(self) -> suite.MakeScorer:
        """Factory of scorers that can be sent to any process."""
        features = self.data.features
        top_db = features.statistics[self.representation]["top_db"]
        forest = ForestClassifier.fit(features, self.domains, self.classifiers.window_frames, self.p.seed)
        return partial(scoring.Scorer, self.classifiers, features.config, self.representation, top_db, forest)

    def probed(self, items: list[Item], heard: Sequence[Row]) -> list[dict[str, Any]]:
        """Records from inside the trained systems that are heard on every piece, kept between runs."""
        asked = [row for row in heard if not row.slow and getattr(row.maker, "name", "") in self.names]
        inverter = self.vocoders.network("inverter") if "inverter" in self.vocoders.networks else None
        features, p = self.data.features, self.p
        mean_db = features.statistics[self.representation]["mean_db"]
        known = (p.dataset, self.domains, features.config, self.representation, mean_db, p.audio.rms, p.seed)
        question = probes.Probes(asked, inverter, *known)
        return self.cache.once("probes", question.key(items), lambda: question.records(items))

    def table(self, items: list[Item], heard: list[Row], results: list[scoring.Result]) -> pandas.DataFrame:
        """The long table: every metric of every row on every item."""
        real = fit_real(self.data.features, self.classifiers, self.domains, self.p.seed)
        records = [
            *scoring.records(results),
            *scoring.failures(results, self.make_scorer()()),
            *score_records(results, heard_targets(items, self.data.features.config.sample_rate, self.cache)),
            *suite.set_values(results, real, self.cache),
            *self.probed(items, heard),
        ]
        kinds = {row.name: row.vocoder for row in heard}
        ranges = {(item.direction, item.piece): item.range for item in items}
        return table.add_skill(table.make_table(table.annotate(records, kinds, ranges)))

    def vocoder_figures(self) -> dict[str, float]:
        """Likelihoods and copy synthesis of the vocoders on validation pieces, kept between runs."""
        networks = [self.vocoders.network(name) for name in self.vocoders.networks]
        kinds, split = [self.vocoders.by(kind) for kind in self.vocoders.kinds], "validation"
        seen = [[vars(e) for e in self.data.audio.excerpts(split=split)], self.data.features.config.to_dict()]
        code = code_of(copy_synthesis_figures.__module__, likelihood_figures.__module__)

        def make() -> dict[str, float]:
            with side_by_side() as over:
                found = likelihood_figures(networks, self.data.audio, self.data.features, split, over)
                return found | copy_synthesis_figures(kinds, self.data.audio, self.data.features, split, over)

        return self.cache.once("vocoders", digest_with_code(kinds, networks, seen, code), make)
