"""Weights of a training become a product: half precision, and all that is known of them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from zero_shot_cases import TINY, made_corpus

from rimer_forecaster.zero_shot import forecast, zero_shot_network
from rimer_forecaster.zero_shot.corpus import read_held
from rimer_forecaster.zero_shot.prior import VERSION
from rimer_forecaster.zero_shot.publish import main, publish
from rimer_forecaster.zero_shot.train import QUANTILES, build, train
from rimer_forecaster.zero_shot.validation import relative_errors, validation_score

pytest.importorskip("pyarrow", reason="a corpus is a parquet file, which needs pyarrow")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("trained"), TINY)


@pytest.fixture(scope="module")
def published(data, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "rimer-test.safetensors"
    return out, publish(trained, data, out)


def test_all_that_is_known_is_in_the_json(published, data):
    path, known = published

    written = json.loads(path.with_suffix(".json").read_text())
    assert {x: y for x, y in known.items() if x != "sha256"} == {
        x: y for x, y in written.items() if x != "sha256"
    }
    assert len(written["sha256"]) == 64
    assert known["name"] == "rimer-test"
    assert known["quantiles"] == list(QUANTILES)
    assert known["arguments"] == build(TINY).config.to_json()
    assert known["plan"] == json.loads(json.dumps(vars(TINY)))
    assert known["steps"] == TINY.steps
    assert known["hours"] >= 0
    assert known["prior"] == VERSION
    sizes = [3000, 2500, 800, 200, 90, 40, 30]
    assert known["series"] == {x: {"made": [7, sum(sizes)]} for x in ("train", "validation")}
    kinds = {"hourly", "faster", "daily", "weekly", "monthly", "quarterly", "yearly"}
    assert set(known["validation"]) == {"score", "score in single precision", *kinds}
    assert set(known["validation of the network alone"]) == {"score", *kinds}


def test_weights_are_in_half_precision_and_forecast_as_they_did(published, trained):
    path, _ = published
    assert {x.dtype for x in load_file(path).values()} == {torch.float16}
    assert path.stat().st_size <= 4e6

    rng = np.random.default_rng(0)
    series = [rng.normal(size=100)]
    own, other = (forecast(zero_shot_network(x), series, 8) for x in (path, trained))
    np.testing.assert_allclose(own, other, atol=2e-2)


def test_the_scores_are_those_of_the_weights_that_are_published(published, data):
    path, known = published
    network, held = zero_shot_network(path), read_held(data)

    assert known["validation"]["score"] == pytest.approx(validation_score(network, held), abs=1e-4)
    errors = relative_errors(network, held)
    assert known["validation"]["weekly"] == pytest.approx(errors["weekly"].item(), abs=1e-4)


def test_the_command_line_publishes(trained, data, tmp_path, capsys):
    out = tmp_path / "own.safetensors"
    main([str(trained), "--data", str(data), "--out", str(out)])

    assert json.loads(capsys.readouterr().out)["score"] > 0
    assert out.exists()
    with pytest.raises(SystemExit, match=r"does not exist"):
        main([str(tmp_path / "none.safetensors"), "--data", str(data), "--out", str(out)])
