"""Trainings that really collapse are stopped; one that goes well is not."""

import math

import pytest
import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.systems.cyclegan import train
from retimbre.systems.cyclegan.step import CycleGanTrainer
from retimbre.training.checkpoint import Scratch
from retimbre.training.guards import FEWEST, Guards, example_scores, mean_correlation, output_figures, wins
from tests.toys.features import fit, model_params, run_of, write_features

CALM = dict(steps=80, learning_rate_generator=5e-3, learning_rate_discriminator=2e-3, change_limit=0.0)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_features(tmp_path_factory.mktemp("features"))


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Trainings of a few steps are looked at as often as long ones."""
    monkeypatch.setattr(train, "WATCH_EVERY", 2)


def pulled_to(pattern, monkeypatch):
    """Draw generators to ``pattern(input)`` by a loss far stronger than the discriminators."""

    def losses(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]
    ) -> dict[str, Tensor]:
        return {"loss/cycle": 100 * ((fake_b - pattern(a)).abs().mean() + (fake_a - pattern(b)).abs().mean())}

    monkeypatch.setattr(CycleGanTrainer, "generator_losses", losses)


COLLAPSES = {
    "mute": (
        lambda x: torch.full_like(x, -1.0),
        r"output is \d+ dB below its input \(mute\), and has for long: raise model.lambda_cycle",
    ),
    "identity": (
        lambda x: x,
        r"changes its input by 0\.0\d dB though the discriminator tells \d+% of its outputs \(identity\)",
    ),
    "one output": (
        lambda x: torch.linspace(-1, 0.5, x.shape[1])[None, :, None].expand_as(x),
        r"outputs differ \d+\.\d% as much as its inputs \(one output\)",
    ),
}


@pytest.mark.parametrize("kind", COLLAPSES)
def test_a_collapse_is_stopped_with_a_sentence(features, monkeypatch, kind):
    pattern, sentence = COLLAPSES[kind]
    pulled_to(pattern, monkeypatch)
    changes = {"identity": {"start_at_eq": False}, "one output": {"residual_output": False}, "mute": {}}[kind]
    with pytest.raises(RetimbreError, match=sentence) as stop:
        fit(features, **CALM | changes, guard_action="stop")
    message = str(stop.value)
    assert (
        message.startswith("cyclegan: at step ")
        and message.endswith("model.guard_action: warn goes on.")
        and "\n" not in message
    )


def test_a_batch_of_one_is_watched_too(features, monkeypatch):
    """A single crop has nothing to differ from, so it is measured beside another."""
    _, curves = fit(features, run_of(log_every=2), batch_size=1, steps=4)
    assert all(0.5 < row["guard/diversity_ab"] < 1.5 for row in curves if "loss/generator" in row)
    pattern, sentence = COLLAPSES["one output"]
    pulled_to(pattern, monkeypatch)
    with pytest.raises(RetimbreError, match=sentence):
        fit(features, **CALM | {"residual_output": False, "batch_size": 1, "guard_action": "stop"})


def test_a_collapse_is_a_warning_if_wanted(features, monkeypatch, capsys):
    pulled_to(COLLAPSES["mute"][0], monkeypatch)
    _, curves = fit(features, **CALM | {"steps": 40}, guard_action="warn")
    assert curves[-1]["step"] == 40 and curves[-1]["guard/level_db_ab"] < -20
    assert capsys.readouterr().err.count("generator ab's output is") == 1, "said once, not at every log point"


def test_a_training_that_goes_well_is_left_alone(features, capsys):
    _, curves = fit(features, **CALM | {"change_limit": 0.7}, guard_action="stop", lambda_cycle=5)
    assert curves[-1]["step"] == CALM["steps"]
    assert all(row["guard/diversity_ab"] > 0.3 for row in curves if "guard/diversity_ab" in row)
    assert (
        "(mute)" not in (said := capsys.readouterr().err)
        and "(identity)" not in said
        and "(one output)" not in said
    )


def spectra(batch: int = 6) -> Tensor:
    return torch.rand(batch, 16, 24, generator=torch.Generator().manual_seed(1)) * 1.2 - 1


def test_figures_of_known_outputs():
    x = spectra()
    quieter = output_figures("ab", x, x - 0.2, 60)
    assert quieter["guard/level_db_ab"] == pytest.approx(-6, abs=1e-4)  # 0.2 half ranges of 30 dB
    assert quieter["guard/change_db_ab"] == pytest.approx(6, abs=1e-4)
    assert quieter["guard/diversity_ab"] == pytest.approx(1, abs=1e-4)
    same = output_figures("ab", x, x[:1].expand_as(x), 60)
    assert same["guard/diversity_ab"] < 0.02
    mute = output_figures("ab", x, torch.full_like(x, -1), 60)
    assert mute["guard/level_db_ab"] < -25 and mute["guard/diversity_ab"] < 0.02
    rests = torch.full((4, 16, 24), -1.0)
    assert output_figures("ab", rests, rests, 60)["guard/diversity_ab"] == 1, (
        "a batch of rests is no collapse"
    )
    assert "guard/diversity_ab" not in output_figures("ab", x[:1], x[:1], 60), (
        "one crop has nothing to differ from"
    )


def test_mean_correlation_against_numpy():
    x = spectra(3)
    expected = torch.corrcoef(x.flatten(1))
    assert mean_correlation(x) == pytest.approx(float((expected.sum() - 3) / 6), abs=1e-5)


def test_wins_are_the_area_under_the_roc_curve():
    assert wins(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1
    one_right_one_tie = wins(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 3.0]))
    assert one_right_one_tie == pytest.approx(3 / 8)
    maps = [[torch.zeros(2, 5), torch.tensor([[1.0, 3.0], [0.0, 0.0]])], [torch.tensor([[[4.0]], [[2.0]]])]]
    assert example_scores(maps).tolist() == [3.0, 1.0]


def watch(guards: Guards, points: int, **figures: float) -> None:
    for step in range(guards.steps // 2, guards.steps // 2 + points):
        guards.watch(step, {f"guard/{name}": value for name, value in figures.items()})


def test_patience_and_warm_up():
    guards = Guards("toy", "model", 1000, 10)  # 5 % of 1000 steps are 5 log points
    guards.watch(10, {"guard/level_db_ab": -60.0})
    assert not guards.suspicious, "untrained generators are not judged"
    watch(guards, 4, level_db_ab=-60.0)
    assert guards.suspicious
    watch(guards, 1, level_db_ab=0.0)
    assert not guards.suspicious, "an excursion that ended does not count"
    watch(guards, 4, level_db_ab=-60.0)
    with pytest.raises(RetimbreError, match="generator ab's output is 60 dB below its input"):
        watch(guards, 1, level_db_ab=-60.0)
    late = Guards("toy", "model", 1000, 500)
    watch(late, 4, level_db_ab=-60.0)  # five points at least, however seldom a training logs


def test_a_collapse_that_is_only_warned_of_does_not_stop_the_checkpoints(capsys):
    guards = Guards("toy", "model", 1000, 10, action="warn")
    watch(guards, 9, level_db_ab=-60.0)
    assert not guards.suspicious and "(mute)" in capsys.readouterr().err
    follower = Guards("toy", "model", 1000, 10, action="warn", speaks=False)
    watch(follower, 9, level_db_ab=-60.0)
    assert capsys.readouterr().err == "", "of several processes one speaks"


def test_identity_only_where_the_discriminator_sees_through_it():
    guards = Guards("toy", "model", 1000, 10)
    watch(guards, 30, change_db_ab=0.0, wins_b=0.6)  # domains that are alike already
    with pytest.raises(RetimbreError, match="identity"):
        watch(guards, 30, change_db_ab=0.0, wins_b=1.0)


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.0, "discriminator a tells 100% of the pairs apart"), (0.5, "discriminator a is at chance")],
)
def test_saturated_discriminators_are_warned_of_once(capsys, value, words):
    guards = Guards("toy", "model", 1000, 10)
    watch(guards, 19, wins_a=value, wins_b=0.8)
    assert capsys.readouterr().err == ""
    watch(guards, 5, wins_a=value, wins_b=0.8)
    errors = capsys.readouterr().err
    assert errors.count("warning") == 1 and words in errors and "model." in errors


def test_balance_slows_down_discriminators_that_win_until_they_do_not():
    guards = Guards("toy", "model", 1000, 10, balance=True)
    watch(guards, 5, wins_a=1.0, wins_b=1.0)
    assert guards.discriminator_rate == 0.1
    watch(guards, 5, wins_a=0.7, wins_b=0.7)
    assert guards.discriminator_rate == 1
    unbalanced = Guards("toy", "model", 1000, 10)
    watch(unbalanced, 5, wins_a=1.0, wins_b=1.0)
    assert unbalanced.discriminator_rate == 1, "only if it is wanted"


def test_balance_reaches_the_optimiser(features, monkeypatch):
    rates = []
    step = CycleGanTrainer.step

    def watched(self, *args):
        losses = step(self, *args)
        rates.append(self.optimiser_d.param_groups[0]["lr"])
        return losses

    monkeypatch.setattr(CycleGanTrainer, "step", watched)
    # Every discriminator wins too often for it.
    monkeypatch.setattr("retimbre.training.guards.BALANCE_AT", 0.0)
    fit(features, steps=6, decay_from=1.0, guard_balance=True)
    rate = model_params().learning_rate_discriminator
    assert rates[:2] == [rate] * 2
    assert rates[2:] == pytest.approx([0.1 * rate] * 4)


def test_state_is_whole():
    one, two = Guards("toy", "model", 1000, 10, balance=True), Guards("toy", "model", 1000, 10, balance=True)
    watch(one, 4, level_db_ab=-60.0, wins_a=1.0, wins_b=1.0)
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict() and two.suspicious and two.discriminator_rate == 0.1
    with pytest.raises(RetimbreError):
        watch(two, 1, level_db_ab=-60.0)
    assert math.isclose(sum(two.wins["a"]), 4)


def test_a_collapse_is_not_kept(features, monkeypatch, tmp_path):
    """The last state that is saved is of before the collapse began."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    pulled_to(COLLAPSES["mute"][0], monkeypatch)
    with Scratch("toy", "f") as scratch:
        with pytest.raises(RetimbreError, match=r"at step \d+ generator .*\(mute\)") as stop:
            fit(features, run_of(scratch, checkpoint_every=2), **CALM, guard_action="stop")
        stopped = int(str(stop.value).split("at step ")[1].split()[0])
        assert scratch.load()["cyclegan"]["step"] <= stopped - 2 * FEWEST
