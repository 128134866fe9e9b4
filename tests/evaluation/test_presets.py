"""A preset says where each setting comes from, and a protocol is known by what its training runs share."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.cli.parser import build_parser
from tenpercent.cli.values import embedder_of, within_of
from tenpercent.embedding.recipe import Flip, Recipe, Schedule, Statistics
from tenpercent.embedding.settings import Supervised, function_name
from tenpercent.errors import UsageError
from tenpercent.evaluation.presets import (
    PRESETS,
    Protocol,
    SharedLength,
    ValueSource,
    describe_presets,
    preset,
    settings_of,
)


def sources(name: str) -> dict[str, tuple[str, ValueSource]]:
    return {setting: (value, origin) for setting, value, origin in settings_of(preset(name))}


def test_the_papers_settings_are_those_of_the_issue() -> None:
    cifar, imagenet = PRESETS["paper-cifar"], PRESETS["paper-imagenet"]
    training = cifar.protocol.training
    assert (training.depth, training.network, training.steps, training.batch) == (32, None, 100_000, 128)
    assert (training.rate, training.momentum, training.weight_decay, cifar.trials) == (0.1, 0.9, 1e-4, 10)
    assert training.recipe.schedule is Schedule.COSINE and not training.recipe.nesterov
    training = imagenet.protocol.training
    assert (training.network, training.steps, training.batch) == ("resnetv2_101", 120_000, 1024)
    assert (training.rate, training.recipe.nesterov, imagenet.trials) == (0.4, True, 5)
    assert cifar.protocol.length is imagenet.protocol.length is SharedLength.STEPS
    assert sources("paper-cifar")["warm-up"] == ("from 0 over 2,500 steps", ValueSource.UNCONFIRMED)
    assert sources("paper-imagenet")["warm-up"] == ("from 0 over 5,000 steps", ValueSource.PAPER)


def test_only_what_the_paper_says_is_said_to_be_the_papers() -> None:
    of_paper = {
        name: {setting for setting, (_, origin) in sources(name).items() if origin is ValueSource.PAPER}
        for name in PRESETS
    }
    assert of_paper["paper-cifar"] == {"network", "length", "trials", "selection"}
    assert of_paper["paper-imagenet"] == {"network", "warm-up", "selection"}
    assert not of_paper["article-fashion"] | of_paper["fast"] | of_paper["digits"]


def test_the_articles_settings_and_what_it_leaves_open() -> None:
    article = PRESETS["article-fashion"]
    training, recipe = article.protocol.training, article.protocol.training.recipe
    assert (training.network, training.epochs, training.batch) == ("resnet34", 100, 128)
    assert (recipe.schedule, recipe.drops, recipe.class_weights) == (Schedule.DROPS, (0.6, 0.8), True)
    assert (recipe.statistics, recipe.flip, recipe.pad) == (Statistics.IMAGENET, Flip.RANDOM, 0)
    assert (article.within, article.best, article.protocol.length) == ("all", True, SharedLength.EPOCHS)
    open_ones = {
        name for name, (_, origin) in sources("article-fashion").items() if origin is ValueSource.OPEN
    }
    assert {"rate", "drop factor", "momentum", "weight decay"} <= open_ones


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_origin_belongs_to_a_line_that_is_printed(name: str) -> None:
    assert set(preset(name).sources) <= {setting for setting, _, _ in settings_of(preset(name))}


def test_the_page_is_made_from_the_settings() -> None:
    page = describe_presets()
    assert all(f"{name}: " in page for name in PRESETS)
    assert max(len(line) for line in page.splitlines()) <= 140
    changed = replace(PRESETS["digits"], protocol=PRESETS["digits"].protocol.override(steps=77))
    assert ("length", "77 steps", ValueSource.OURS) in list(settings_of(changed))


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    assert capsys.readouterr().out.strip() == describe_presets()


def test_the_presets_keep_their_fingerprints() -> None:
    """Results of one fingerprint may be compared: those of run folders made before stay comparable."""
    assert {name: known.protocol.fingerprint for name, known in PRESETS.items()} == {
        "paper-cifar": "92d7242dce83840e",
        "paper-imagenet": "690324d8d309b951",
        "article-fashion": "7ea4866da3eaee8d",
        "fast": "4dfbc96178c0b3c2",
        "quick": "dab94b30a94284f4",
        "fashion-fast": "6bf42ba776b8a664",
        "digits": "5a461cbc7990adb0",
    }


def test_an_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'paper-cifer' .*did you mean paper-cifar"):
        preset("paper-cifer")


def test_presets_load_no_torch() -> None:
    code = "import sys, tenpercent.evaluation.presets as p; p.describe_presets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- protocols -----------------------------------------------------------------------------------------------------

recipes = st.builds(
    Recipe,
    schedule=st.sampled_from(Schedule),
    warm_up=st.sampled_from([0.0, 0.025, 0.5]),
    drops=st.sampled_from([(0.6, 0.8), (0.5,), ()]),
    nesterov=st.booleans(),
    bias_rate=st.sampled_from([1.0, 64.0]),
    bias_decay=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.2]),
    class_weights=st.booleans(),
    pad=st.sampled_from([None, 0, 3]),
    flip=st.sampled_from(Flip),
    statistics=st.sampled_from(Statistics),
)
protocols = st.builds(
    Protocol,
    training=st.builds(
        Supervised, recipe=recipes, steps=st.sampled_from([None, 5]), batch=st.sampled_from([2, 128])
    ),
    length=st.sampled_from(SharedLength),
    evaluations=st.integers(1, 30),
    mirrored=st.booleans(),
)


@settings(deadline=None)
@given(protocols, protocols)
def test_protocols_come_back_and_differ_where_they_differ(one: Protocol, other: Protocol) -> None:
    back = Protocol.from_json(json.loads(json.dumps(one.as_json())))
    assert back == one and back.fingerprint == one.fingerprint
    assert (one == other) == (one.fingerprint == other.fingerprint)


def test_seed_and_devices_make_no_other_protocol() -> None:
    protocol = PRESETS["digits"].protocol
    same = replace(protocol, training=replace(protocol.training, seed=5, devices=2))
    assert same.fingerprint == protocol.fingerprint


def test_overriding() -> None:
    protocol = PRESETS["fast"].protocol
    assert protocol.override() == protocol
    found = protocol.override(steps=9, network="resnet18", batch=7, precision="bf16", length="epochs")
    assert (found.training.steps, found.training.epochs) == (9, None)
    assert (found.training.network, found.training.batch, found.training.precision) == ("resnet18", 7, "bf16")
    assert found.length is SharedLength.EPOCHS and found.training.recipe == protocol.training.recipe
    with pytest.raises(UsageError, match="give one of them"):
        protocol.override(steps=9, epochs=2)
    with pytest.raises(UsageError, match=r"'epoch' .*did you mean epochs"):
        protocol.override(length="epoch")
    with pytest.raises(UsageError, match="evaluations is 0"):
        replace(protocol, evaluations=0)


# ---- the embedding's training --------------------------------------------------------------------------------------


def test_a_default_recipe_leaves_stored_settings_as_they_were() -> None:
    assert Supervised().as_json() == {
        "embedder": "supervised",
        "network": None,
        "depth": 32,
        "epochs": None,
        "steps": None,
        "batch": 128,
        "seed": 0,
        "rate": 0.1,
        "weight_decay": 0.0001,
        "momentum": 0.9,
        "devices": None,
        "precision": "auto",
    }
    assert Supervised(recipe=Recipe(smoothing=0.1)).as_json()["recipe"] == {"smoothing": 0.1}


def parsed(*flags: str) -> argparse.Namespace:
    return build_parser().parse_args(["run", "digits", "--out", "r", *flags])


def test_embedding_with_a_preset() -> None:
    assert embedder_of(parsed("--preset", "fast")) == PRESETS["fast"].protocol.training
    found = embedder_of(parsed("--preset", "fast", "--steps", "9", "--seed", "3"))
    assert found == replace(PRESETS["fast"].protocol.training, steps=9, epochs=None, seed=3)
    with pytest.raises(UsageError, match="leave out one"):
        embedder_of(parsed("--preset", "fast", "--embedder", "timm:resnet18"))
    with pytest.raises(UsageError, match="preset 'fats'"):
        embedder_of(parsed("--preset", "fats"))


def test_the_articles_preset_looks_at_everything_together() -> None:
    assert within_of(parsed("--preset", "article-fashion")) == "all"
    assert within_of(parsed("--preset", "article-fashion", "--within", "class")) == "class"
    assert within_of(parsed("--preset", "fast")) is None
    assert within_of(parsed()) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule": "cosin"}, "did you mean cosine"),
        ({"flip": "both"}, "'both' is not one of"),
        ({"warm_up": 1.0}, "warm_up is 1.0"),
        ({"smoothing": -0.1}, "smoothing is -0.1"),
        ({"drops": (0.5, 1.5)}, "a drop of the rate is 1.5"),
        ({"bias_rate": 0.0}, "bias_rate is 0.0"),
        ({"small_side": 1.5}, "small_side is 1.5; it must be a number above 0, at most 1"),
        ({"small_steps": 1.0}, "small_steps is 1.0"),
        ({"pad": -1}, "pad is -1"),
    ],
)
def test_recipes_that_make_no_sense(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_a_function_is_known_by_its_name_if_it_has_one() -> None:
    assert function_name(tp.embed) == "tenpercent.embedding.stage:embed"
    with pytest.raises(UsageError, match="can't be imported by its name"):
        Supervised(network=lambda n_classes: None)  # type: ignore[arg-type]
