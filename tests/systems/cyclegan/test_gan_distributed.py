"""Parts of a step that draw random numbers or need the whole batch: in two processes as in one."""

from tests.toys.features import fit, write_features
from tests.training.test_distributed import LIMIT_S, assert_equal_training, start


def test_penalty_and_further_steps_on_two_processes_equal_one(tmp_path) -> None:
    options = dict(gan_loss="wgan_gp", lambda_gradient_penalty=10.0, discriminator_steps=2, steps=10)
    options |= {"discriminator": ["patch", "temporal"]}
    features = write_features(tmp_path / "features")
    process = start(tmp_path, devices=2, **options)
    alone, curves = fit(features, **options)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert_equal_training(tmp_path, alone, curves, features)
