"""The statistics: intervals that cover, tests that hold their level, sentences that claim no more than is known."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tenpercent.errors import UsageError
from tenpercent.evaluation.find import Decision, NextTrainingRun, SearchResult, analyses, decide, find_step
from tenpercent.reporting.evidence.formats import difference_text, percent, signed
from tenpercent.reporting.evidence.results import gather
from tenpercent.reporting.evidence.statistics import (
    ALPHA,
    MOST_NEEDED,
    Comparison,
    Verdict,
    compare,
    gap,
    needed_trials,
    pooled_spread,
    summary,
    visible_difference,
)
from tenpercent.reporting.evidence.verdicts import against_random, finding

FULL = [0.92, 0.921, 0.919, 0.922, 0.918]


def rows(*trainings: dict[str, Any]) -> pa.Table:
    """A table of results; what a training does not say is as usual."""
    usual = {"fraction": 1.0, "trial": 0, "seed": 0, "embedding": 0, "layer": "end", "status": "done"}
    made = []
    for number, training in enumerate(trainings):
        made.append(usual | {"seed": number, "protocol": "p", "reason": None, "accuracy": None} | training)
    words = dict.fromkeys(("arm", "layer", "status", "reason", "protocol"), pa.string())
    numbers = dict.fromkeys(("trial", "seed", "embedding"), pa.int64())
    schema = pa.schema(words | numbers | {"fraction": pa.float64(), "accuracy": pa.float64()})
    return pa.Table.from_pylist(made, schema=schema)


def trials(arm: str, fraction: float, accuracies: list[float], **more: Any) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "fraction": fraction, "trial": trial, "accuracy": accuracy} | more
        for trial, accuracy in enumerate(accuracies)
    ]


# --- summary ---------------------------------------------------------------------------------------------------


def test_a_summary_by_hand() -> None:
    found = summary([0.9, 0.92, 0.94])
    assert (found.n, found.mean, found.std) == (3, pytest.approx(0.92), pytest.approx(0.02))
    half = 4.302652729911275 * 0.02 / math.sqrt(3)  # t of 97.5% with 2 degrees of freedom, from a table
    assert (found.low, found.high) == (pytest.approx(0.92 - half), pytest.approx(0.92 + half))


def test_one_trial_and_equal_trials_have_no_interval() -> None:
    one, equal = summary([0.9]), summary([0.9, 0.9])
    assert (one.n, one.std, one.low, one.high) == (1, None, None, None)
    assert (equal.n, equal.std, equal.low, equal.high) == (2, 0.0, None, None)


@pytest.mark.parametrize("values", [[], [0.9, math.nan], [math.inf]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(UsageError):
        summary(values)
    with pytest.raises(UsageError):
        compare(values, FULL)


# --- compare ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12), st.floats(0.05, 2))
@settings(max_examples=60)
def test_a_comparison_is_welch_by_its_formula(seed: int, n: int, m: int, margin: float) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(0.9, 0.004, n), generator.normal(0.9, 0.002, m)
    found = compare(a, b, margin)
    x, y = 100 * a, 100 * b
    u, v = x.var(ddof=1) / n, y.var(ddof=1) / m
    error, freedom = math.sqrt(u + v), (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1))
    difference = x.mean() - y.mean()
    half = stats.t.ppf(0.975, freedom) * error
    assert found.difference == pytest.approx(difference)
    assert (found.low, found.high) == (pytest.approx(difference - half), pytest.approx(difference + half))
    assert found.half == pytest.approx(half)
    assert found.loss_p == pytest.approx(stats.t.sf((difference + margin) / error, freedom), abs=1e-12)
    assert found.gain_p == pytest.approx(stats.t.cdf((difference - margin) / error, freedom), abs=1e-12)
    assert found.equivalent == (max(found.loss_p or 0, found.gain_p or 0) < ALPHA)
    # A test at 5% is the 90% interval; so a margin outside the 95% interval is decided.
    if not -margin - 1e-9 <= difference - half:
        assert found.verdict in (
            Verdict.OPEN,
            Verdict.LOSS,
            Verdict.WORSE,
            Verdict.AS_GOOD,
            Verdict.SMALL_LOSS,
        )
    else:
        assert found.verdict.holds


def test_both_sides_of_a_comparison_mirror_each_other() -> None:
    a = [0.915, 0.918, 0.917]
    one, other = compare(a, FULL, 0.3), compare(FULL, a, 0.3)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.loss_p) == (pytest.approx(-(other.high or 0)), pytest.approx(other.gain_p))


def made(difference: float, half: float, margin: float = 0.2, n: int = 10) -> Comparison:
    """A comparison of two sides of n trials with this difference and half-width."""
    shape = np.resize([-1.0, 1.0], n)
    shape = (shape - shape.mean()) / shape.std(ddof=1)
    error = half / stats.t.ppf(0.975, 2 * n - 2)
    side = 0.9 + shape * error * math.sqrt(n / 2) / 100
    return compare(side + difference / 100, side, margin)


CASES = {
    Verdict.BETTER: (made(0.30, 0.11), "Keeping 90% is better than the full set"),
    Verdict.AS_GOOD: (made(0.03, 0.11), "Keeping 90% is as good as the full set, within 0.2 points"),
    Verdict.SMALL_LOSS: (made(-0.10, 0.05), "Keeping 90% loses accuracy, but less than 0.2 points"),
    Verdict.WORSE: (made(-0.50, 0.11), "Keeping 90% loses more than 0.2 points"),
    Verdict.LOSS: (
        made(-0.18, 0.11),
        "Keeping 90% loses accuracy; too few trials to tell whether less than 0.2 points; "
        "about 425 per arm would decide",
    ),
    Verdict.OPEN: (
        made(-0.05, 0.3),
        "Keeping 90%: too few trials to rule out a 0.2-point loss; about 57 per arm would decide",
    ),
}


@pytest.mark.parametrize("verdict", CASES, ids=str)
def test_the_sentence_of_each_verdict(verdict: Verdict) -> None:
    comparison, expected = CASES[verdict]
    assert comparison.verdict is verdict
    assert finding(comparison, "Keeping 90%") == expected


def test_no_significant_difference_is_not_as_good() -> None:
    comparison = compare([0.90, 0.93], [0.92, 0.91], 0.2)  # equal means, wide apart
    assert comparison.verdict is Verdict.OPEN
    assert "too few trials" in finding(comparison, "x")
    assert not comparison.equivalent


@pytest.mark.parametrize(
    ("arm", "full", "why"),
    [
        ([0.9], [0.91], "one trial has no interval; train 2 or more per arm"),
        ([0.9], FULL, "one trial has no interval; about "),
        ([0.9, 0.9], FULL, "all 2 trials of one arm are equal, so the spread is unknown; about "),
        (
            [0.9, 0.9],
            [0.91, 0.91],
            "all 2 trials of one arm are equal, so the spread is unknown; add trials, or ",
        ),
    ],
)
def test_without_spread_there_is_no_interval_and_the_sentence_says_so(
    arm: list[float], full: list[float], why: str
) -> None:
    comparison = compare(arm, full, 0.2)
    assert (comparison.low, comparison.loss_p, comparison.verdict) == (None, None, Verdict.UNKNOWN)
    assert finding(comparison, "Keeping 90%").startswith(f"Keeping 90% can’t be tested: {why}")
    for text in (difference_text(comparison), against_random(comparison)):
        assert "±" not in text
    assert comparison.missing in against_random(comparison)


def test_re_splits_without_spread_are_not_told_to_train_as_many_as_they_have() -> None:
    comparison = compare(FULL, FULL, 0.2, overlap=0.25)
    assert finding(comparison, "Keeping 90%") == (
        f"Keeping 90% can’t be tested: the difference is the same in all {len(FULL)} trials, so its spread is unknown; "
        "add trials, or a larger test set"
    )


def test_a_comparison_needs_a_margin_above_zero() -> None:
    for margin in (0, -1, math.nan):
        with pytest.raises(UsageError, match=f"the margin is {margin:g} points"):
            compare(FULL, FULL, margin)


def test_the_comparison_with_random_subsets_claims_what_is_shown() -> None:
    same = "random subsets of the same size"
    assert against_random(made(0.3, 0.11)) == f"Better than {same}: +0.30 ± 0.11 points"
    assert against_random(made(-0.3, 0.11)) == f"Worse than {same}: −0.30 ± 0.11 points"
    assert against_random(made(0.02, 0.1)) == f"Within 0.2 points of {same}: +0.02 ± 0.10 points"
    assert against_random(made(0.1, 0.3)) == (
        f"Too few trials to tell it from {same}: +0.10 ± 0.30 points; "
        "about 162 per arm would show a difference this large"
    )


def test_numbers_in_words() -> None:
    assert [signed(v, 2, plus=False) for v in (-0.004, 0.004, -0.006, 1.0)] == [
        "0.00",
        "0.00",
        "−0.01",
        "1.00",
    ]
    assert [signed(v, 1) for v in (0.2, -0.2, 0.0)] == ["+0.2", "−0.2", "0.0"]
    assert [difference_text(made(1.2346, half)) for half in (12.0, 0.12, 0.012, 0.00012)] == [
        "+1.23 ± 12.00",
        "+1.23 ± 0.12",
        "+1.235 ± 0.012",
        "+1.2346 ± 0.0001",
    ]
    assert (difference_text(compare([0.91], [0.9])), difference_text(None)) == ("+1.00", "–")
    assert [percent(f) for f in (0.9, 0.95, 2 / 3, 0.125)] == ["90%", "95%", "66.67%", "12.5%"]


# --- how many trials are needed ----------------------------------------------------------------------------------


def test_the_trials_said_to_be_needed_decide_four_times_in_five() -> None:
    spread, margin = 0.2, 0.2
    n = needed_trials(spread, margin)
    generator = np.random.default_rng(0)

    def power(size: int) -> float:
        a, b = generator.normal(90, spread, (2, 20_000, size))
        return float(
            np.mean(
                stats.ttest_ind(a + margin, b, axis=1, equal_var=False, alternative="greater").pvalue < 0.05
            )
        )

    assert power(n) == pytest.approx(0.8, abs=0.05)
    assert power(n) >= 0.78
    assert power(n - 3) < 0.76


@pytest.mark.parametrize("trials", [2, 5, 20])
def test_the_difference_said_to_be_visible_is_seen_four_times_in_five(trials: int) -> None:
    spread = 0.3
    distance = visible_difference(spread, trials)
    a, b = np.random.default_rng(0).normal(90, spread, (2, 40_000, trials))
    seen = stats.ttest_ind(a + distance, b, axis=1).pvalue < 0.05
    assert float(np.mean(seen)) == pytest.approx(0.8, abs=0.04)
    if trials > 2:  # the inverse of the trials needed
        assert needed_trials(spread, distance * 1.001, 0.025) == trials


def test_a_gap_has_the_interval_of_the_comparison_and_the_unit_of_its_values() -> None:
    random = np.random.default_rng(5)
    a, b = random.normal(0.9, 0.01, 4), random.normal(0.8, 0.02, 6)
    found, (difference, half) = compare(a, b), gap(a, b)
    assert (100 * difference, 100 * half) == pytest.approx((found.difference, found.half), rel=1e-12)
    assert gap(a[:1], b) == (pytest.approx(a[0] - b.mean()), None)
    with pytest.raises(UsageError):
        gap(a, [])


def test_needed_trials_at_the_edges() -> None:
    assert needed_trials(0.1, 0) == needed_trials(1.0, 0.001) == MOST_NEEDED + 1
    assert needed_trials(1e-9, 0.2) == 2
    assert [needed_trials(s, 0.2) for s in (0.1, 0.2, 0.4)] == sorted(
        needed_trials(s, 0.2) for s in (0.1, 0.2, 0.4)
    )
    unlucky = made(-0.199, 0.3)
    assert "more than 1,000 per arm would be needed to decide" in finding(unlucky, "x")
    assert CASES[Verdict.AS_GOOD][0].needed is None


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(2, 8))
@settings(max_examples=40)
def test_more_trials_are_asked_for_than_there_are(seed: int, n: int, m: int) -> None:
    generator = np.random.default_rng(seed)
    found = compare(generator.normal(0.9, 0.003, n), generator.normal(0.901, 0.003, m))
    for needed in (found.needed, found.needed_to_differ):
        assert needed is None or needed > min(n, m)
    assert (found.needed is None) == (found.verdict not in (Verdict.OPEN, Verdict.LOSS))


def test_more_is_asked_for_where_as_many_did_not_do() -> None:
    """Five equal trials have no interval; by the spread of the other side two would be enough."""
    found = compare([0.9] * 5, [0.9001, 0.9, 0.9001, 0.9, 0.9])
    assert found.verdict is Verdict.UNKNOWN
    assert needed_trials(found.spread or 0, found.difference + found.margin) == 2
    assert found.needed == 6


def test_pooled_spread() -> None:
    assert pooled_spread([1.0], [2.0]) is None
    assert pooled_spread([1.0, 3.0], [5.0]) == pytest.approx(math.sqrt(2))
    assert pooled_spread([1.0, 3.0], [0.0, 0.0, 3.0]) == pytest.approx(math.sqrt((2 + 6) / 3))


# --- simulations -------------------------------------------------------------------------------------------------


def simulate(loss: float, margin: float, seed: int, times: int, n: int, m: int) -> list[Comparison]:
    """Compare normal trials of unequal spread, as Welch allows."""
    generator = np.random.default_rng(seed)
    a = generator.normal(0.9 - loss / 100, 0.003, (times, n))
    b = generator.normal(0.9, 0.0015, (times, m))
    return [compare(x, y, margin) for x, y in zip(a, b, strict=True)]


def test_intervals_cover_the_truth_95_times_in_100() -> None:
    found = simulate(0.1, 0.2, seed=1, times=700, n=4, m=6)
    covered = np.mean([(c.low or 0) <= -0.1 <= (c.high or 0) for c in found])
    assert covered == pytest.approx(0.95, abs=0.025)  # three standard errors
    single = np.random.default_rng(2).normal(0.9, 0.003, (3000, 3))
    inside = [(s.low or 0) <= 0.9 <= (s.high or 0) for s in map(summary, single)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_true_loss_of_the_margin_is_called_as_good_5_times_in_100_at_most() -> None:
    found = simulate(0.3, 0.3, seed=3, times=800, n=5, m=5)
    held = np.mean([c.verdict.holds for c in found])
    assert 0.027 < held < 0.073  # three standard errors about 5%
    assert np.mean([c.equivalent for c in found]) <= held
    gained = [compare(x, y, 0.3) for x, y in np.random.default_rng(4).normal(0.9, 0.002, (500, 2, 6))]
    assert np.mean([c.verdict is Verdict.BETTER for c in gained]) == pytest.approx(0.025, abs=0.02)


# --- the table ---------------------------------------------------------------------------------------------------


def test_only_trainings_of_one_protocol_are_compared() -> None:
    table = rows(
        *trials("full", 1.0, FULL),
        *trials("semantic", 0.9, [0.95, 0.951], protocol="other"),
        *trials("semantic", 0.9, [0.917, 0.921]),
    )
    main, other = gather(table)
    assert (main.protocol, main.trials, other.protocol, other.trials) == ("p", 7, "other", 2)
    point = main.result("semantic", 0.9, "end")
    assert point is not None
    found = main.against_full(point)
    assert found is not None
    assert found.difference == pytest.approx(100 * (0.919 - 0.92))
    alone = other.result("semantic", 0.9, "end")
    assert alone is not None
    assert other.against_full(alone) is None


def test_failed_trainings_are_counted_and_named_and_enter_no_mean() -> None:
    table = rows(
        *trials("semantic", 0.9, [0.9, 0.92]),
        {
            "arm": "semantic",
            "fraction": 0.9,
            "trial": 2,
            "status": "failed",
            "reason": "loss is nan at step 7",
        },
        {"arm": "semantic", "fraction": 0.9, "trial": 3, "accuracy": math.nan},
    )
    (evidence,) = gather(table)
    (result,) = evidence.results
    accuracy = result.summary("accuracy")
    assert accuracy is not None
    assert (accuracy.n, accuracy.mean) == (2, pytest.approx(0.91))
    assert evidence.failures == (
        "semantic at 90%, trial 3: loss is nan at step 7",
        "semantic at 90%, trial 4: no accuracy",
    )


def test_baselines_serve_every_layer_and_embedding_once() -> None:
    shared = trials("random", 0.9, [0.9, 0.91])
    again = [row | {"layer": "start", "embedding": 1, "seed": 100 + row["trial"]} for row in shared]
    first = [row | {"seed": 100 + row["trial"]} for row in shared]
    (evidence,) = gather(rows(*first, *again))
    (result,) = evidence.results
    assert (result.layer, len(result.done)) == ("", 2)


def test_the_mean_of_an_embedding_counts_once() -> None:
    values = {0: [0.90, 0.92], 1: [0.93, 0.95], 2: [0.91, 0.91]}
    table = rows(*[row for e, found in values.items() for row in trials("semantic", 0.9, found, embedding=e)])
    (result,) = gather(table)[0].results
    assert result.independent("accuracy").tolist() == pytest.approx([0.91, 0.94, 0.91])
    assert (result.embeddings, len(result.done)) == (3, 6)


def test_results_come_in_their_order() -> None:
    given_rows = [
        {"arm": arm, "fraction": fraction, "layer": layer, "accuracy": 0.9}
        for arm, fraction, layer in [
            ("random", 0.5, "end"),
            ("semantic", 0.5, "end"),
            ("semantic", 0.9, "start"),
            ("kcenter", 0.9, "end"),
            ("full", 1.0, "end"),
            ("semantic", 0.9, "end"),
        ]
    ]
    (evidence,) = gather(rows(*given_rows))
    assert [(one.fraction, one.arm, one.layer) for one in evidence.results] == [
        (1.0, "full", ""),
        (0.9, "semantic", "end"),
        (0.9, "semantic", "start"),
        (0.9, "kcenter", "end"),
        (0.5, "semantic", "end"),
        (0.5, "random", ""),
    ]
    assert evidence.arms == ("full", "semantic", "kcenter", "random")
    assert list(evidence.curves) == ["semantic", "semantic (start)", "kcenter", "random"]
    assert [one.fraction for one in evidence.curves["semantic"]] == [0.9, 0.5]


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(UsageError, match="lack the column protocol"):
        gather(rows().drop(["protocol"]))
    assert gather(rows()) == ()


# --- the search --------------------------------------------------------------------------------------------------


def search(
    accuracy: Callable[[str, float, int], float | None], margin: float, ladder: list[float], most: int
) -> tuple[SearchResult, list[NextTrainingRun]]:
    """Train whatever is asked for until the search ends."""
    asked: list[NextTrainingRun] = []
    given_rows: list[dict[str, Any]] = []
    while True:
        step = find_step(rows(*given_rows), margin, ladder, most)
        if isinstance(step, SearchResult):
            return step, asked
        assert step not in asked, "a training run is asked for twice"
        asked.append(step)
        value = accuracy(step.arm, step.fraction, step.trial)
        given_rows.append(
            {"arm": step.arm, "fraction": step.fraction, "trial": step.trial, "accuracy": value}
            | ({"status": "failed", "reason": "nan"} if value is None else {})
        )


def test_analyses_are_doubled_up_to_the_most() -> None:
    assert [analyses(most) for most in (2, 3, 4, 6, 10, 24)] == [
        (2,),
        (3,),
        (3, 4),
        (3, 6),
        (3, 6, 10),
        (3, 6, 12, 24),
    ]
    with pytest.raises(UsageError, match="1 trials of a fraction have no interval"):
        analyses(1)


def test_a_clear_case_is_found_with_few_trainings() -> None:
    loss = {1.0: 0.0, 0.9: 0.0, 0.8: 0.05, 0.7: 2.0, 0.5: 5.0}
    generator = np.random.default_rng(0)

    def accuracy(arm: str, fraction: float, trial: int) -> float:
        return 0.9 - loss[fraction] / 100 + float(generator.normal(0, 0.0003))

    done, asked = search(accuracy, 0.3, [0.5, 0.8, 0.9, 0.7], 12)
    assert (done.fraction, done.decided) == (0.8, True)
    assert done.sentence.startswith(
        "80% is the smallest fraction confirmed, with 95% confidence, to lose less than 0.3 points ("
    )
    assert re.search(
        r"; 70% is rejected \(−[\d.]+ ± [\d.]+ points against the full set, 3 trials per arm", done.sentence
    )
    assert asked[0] == NextTrainingRun(1.0, "full", 0)
    assert {one.fraction for one in asked} == {1.0, 0.9, 0.8, 0.7}  # 0.5 can decide nothing any more
    assert len(asked) <= 6 + 4 * 3


def test_a_search_resumes_from_what_there_is() -> None:
    table = rows(*trials("full", 1.0, FULL), *trials("semantic", 0.9, [0.919]))
    assert find_step(table, 0.2, [0.9]) == NextTrainingRun(0.9, "semantic", 1)
    assert find_step(rows(), 0.2, [0.9]) == NextTrainingRun(1.0, "full", 0)
    ahead = rows(*trials("full", 1.0, FULL[:1]))
    assert find_step(ahead, 0.2, [0.9]) == NextTrainingRun(0.9, "semantic", 0)  # both arms side by side


def test_trials_that_can_not_decide_are_said_not_to() -> None:
    generator = np.random.default_rng(1)
    done, asked = search(lambda *_: 0.9 + float(generator.normal(0, 0.02)), 0.1, [0.9, 0.8], 12)
    assert (done.fraction, done.decided) == (None, False)
    assert "No fraction is confirmed to lose less than 0.1 points; 90% is open, as" in done.sentence
    assert "as trials vary too much for the 12 allowed to decide (" in done.sentence
    assert len(asked) == 6  # the first analysis is enough to see that
    close, _ = search(
        lambda arm, *_: 0.9 - 0.003 * (arm != "full") + float(generator.normal(0, 0.001)), 0.3, [0.9], 6
    )
    assert "the 6 trials allowed do not decide" in close.sentence


def test_failed_trainings_are_replaced_while_numbers_are_left() -> None:
    generator = np.random.default_rng(2)

    def accuracy(arm: str, fraction: float, trial: int) -> float | None:
        return None if arm == "semantic" and trial in (0, 2) else 0.9 + float(generator.normal(0, 0.0002))

    done, asked = search(accuracy, 0.3, [0.9], 12)
    assert done.fraction == 0.9
    assert [one.trial for one in asked if one.arm == "semantic"] == [0, 1, 2, 3, 4]
    none, _ = search(lambda *_: None, 0.3, [0.9], 4)
    assert "90% is open: too many training runs failed" in none.sentence


def test_an_analysis_has_its_own_trials_of_the_full_set() -> None:
    """More of the full set's trials, made for an earlier fraction, change no analysis of fewer."""
    arm = [0.9, 0.901, 0.899]
    full = [0.9, 0.902, 0.898]
    assert decide(compare(arm, full, 0.3), 6) is Decision.CONTINUE
    few = rows(*trials("full", 1.0, full), *trials("semantic", 0.9, arm))
    many = rows(*trials("full", 1.0, [*full, 0.2, 0.2, 0.2]), *trials("semantic", 0.9, arm))
    assert find_step(few, 0.3, [0.9], 6) == NextTrainingRun(1.0, "full", 3)
    assert find_step(many, 0.3, [0.9], 6) == NextTrainingRun(0.9, "semantic", 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fractions": []}, "0 fractions"),
        ({"fractions": [1.0, 0.9]}, "a fraction of 1"),
        ({"most_trials": 1}, "1 trials"),
        ({"arm": "random"}, "of the arm random"),
        ({"margin": 0.0}, "the margin is 0 points"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(change: dict[str, Any], said: str) -> None:
    table = rows(*trials("full", 1.0, FULL), *trials("semantic", 0.9, FULL))
    with pytest.raises(UsageError, match=said):
        find_step(table, **({"margin": 0.2, "fractions": [0.9]} | change))


@pytest.mark.parametrize("change", ["protocol", "layer", "embedding"])
def test_a_search_through_mixed_results_is_refused(change: str) -> None:
    other = {"protocol": "q", "layer": "start", "embedding": 1}[change]
    table = rows(*trials("semantic", 0.9, FULL), *trials("semantic", 0.9, FULL, **{change: other}))
    with pytest.raises(UsageError, match=f"results of 2 {change}s"):
        find_step(table, 0.2, [0.9])


def test_a_fraction_that_loses_the_margin_is_confirmed_5_times_in_100_at_most() -> None:
    """All analyses together, at the fraction where a false confirmation is likeliest."""
    times, most, margin = 400, 12, 0.3
    generator = np.random.default_rng(5)
    full = generator.normal(0.9, 0.002, (times, most))
    arm = generator.normal(0.9 - margin / 100, 0.002, (times, most))
    confirmed = naive = 0
    for a, b in zip(arm, full, strict=True):
        found = [compare(a[:k], b[:k], margin) for k in analyses(most)]
        decisions = [decide(one, most) for one in found]
        confirmed += next(one for one in decisions if one is not Decision.CONTINUE) is Decision.CONFIRMED
        naive += any(one.verdict.holds for one in found)
    assert confirmed / times < 0.05
    assert naive / times > 0.07  # what testing without paying would do
