"""What draws random numbers or needs the whole batch beside the default: the same in two processes as in one."""

from test_distributed import assert_equal_training, start

from retimbre.systems.cyclegan import system as cyclegan
from tests.toys.features import model_params, write_features


def test_penalty_and_further_steps_on_two_processes_equal_one(tmp_path) -> None:
    options = dict(gan_loss="wgan_gp", lambda_gradient_penalty=10.0, discriminator_steps=2, discriminator=["patch", "temporal"], steps=10)
    features = write_features(tmp_path / "features")
    process = start(tmp_path, devices=2, **options)
    alone, curves = cyclegan.fit(features, model_params(**options), 3, None, None)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert_equal_training(tmp_path, alone, curves, features)
