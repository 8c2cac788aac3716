"""What students fill in: right answers are taken, each plausible wrong one gets its hint."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from agman_lib import course
from agman_lib.base.errors import AgmanError
from agman_lib.course.answers import compared, difference, left_empty
from agman_lib.course.checks import all_checks

CHECKS = all_checks()
SLIPS = [(name, hint) for name, check in CHECKS.items() for hint in check.slips]


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_right_is_taken(name):
    check = CHECKS[name]
    for seed in range(20):
        assert check.judge(check.right, np.random.default_rng(seed)) is None


@pytest.mark.parametrize(("name", "hint"), SLIPS)
def test_each_slip_gets_its_hint(name, hint):
    check = CHECKS[name]
    for seed in range(5):
        said = check.judge(check.slips[hint], np.random.default_rng(seed))
        assert said is not None
        assert hint in said


def mean_of_shuffles(many, replace=False):
    """The chance of notebook 00, with all shuffles at once."""

    def answer(right, rng):
        ranked = rng.permuted(np.tile(right, (many, 1)), axis=1)
        if replace:
            ranked = rng.choice(right, ranked.shape)
        precision = ranked.cumsum(1) / np.arange(1, len(right) + 1)
        return 100 * ((precision * ranked).sum(1) / np.maximum(ranked.sum(1), 1)).mean()

    return answer


def each(maps, change):
    return np.stack([change(one) for one in maps])


def centre_of(weights, whole):
    return 16 * np.array([(weights * at).sum() for at in np.indices(weights.shape)]) / whole


def gate_maps_by(negative):
    """Notebook 04a's two maps of the gate, where negative says which weights are negative."""
    return lambda low, mean, high, s: torch.stack(
        [s * mean, s * torch.where(torch.as_tensor(negative(s)), low, high)], 1
    )


def sorted_rows(of_query, first=0, sort=lambda scores: np.argsort(-scores)):
    def answer(e, query, a, k):
        scores = e[:, a] @ e[query, a]
        scores[query] = scores[query] if of_query is None else of_query
        return sort(scores)[first : first + k]

    return answer


def without_row(e, query, a, k):
    return np.argsort(-np.delete(e[:, a] @ e[query, a], query))[:k]


def marked_over(region, marked):
    return (marked & region).sum() / (marked | region).sum()


def second_number(of_given):
    def answer(share, right, t):
        given = share >= t
        return 100 * given.mean(), 100 * of_given(right, given) if given.any() else np.nan

    return answer


def rows_by(number):
    def answer(old, old_names, new, new_names):
        rows = new.clone()
        for i, name in enumerate(new_names):
            if name in old_names:
                rows[i] = old[number(i, name, old_names)]
        return rows

    return answer


def upwards(scores):
    return np.argsort(scores)[::-1]


OTHER_WRONG_ANSWERS = [
    ("chance", mean_of_shuffles(2), "it varies too much"),
    ("chance", mean_of_shuffles(500, replace=True), r"by \d+\.\d points \(up to \d\.\d would"),
    ("shuffled maps", lambda maps, rng: rng.permuted(maps, axis=1), "stay in their column"),
    ("shuffled maps", lambda maps, rng: rng.permuted(maps, axis=2), "stay in their row"),
    ("shuffled maps",
     lambda maps, rng: each(maps, lambda one: np.roll(one, rng.integers(1, 20))), "move together"),
    ("shuffled maps",
     lambda maps, rng: each(maps, lambda one: np.roll(one, rng.integers(1, 4, 2), (0, 1))),
     "move together"),
    ("shuffled maps",
     lambda maps, rng: each(maps, lambda one: rng.permutation(one[rng.permutation(4)], axis=1)),
     "stays together"),
    ("centre of a map", lambda s, offset: centre_of(s, 1) + offset, "need not sum to 1"),
    ("centre of a map", lambda s, offset: centre_of(s, 1) + offset * s.sum(), "need not sum to 1"),
    ("attention pooling",
     lambda x, s: torch.einsum("ahw,dhw->ad", s.clamp(min=0), x), "a negative weight counts as 0"),
    ("attention pooling",
     lambda x, s: torch.einsum("ahw,dhw->ad", s.abs(), x), "lose their signs"),
    ("gate maps", gate_maps_by(lambda s: (s < 0).any()), "all of them negative"),
    ("gate maps", gate_maps_by(lambda s: s[:, :1, :1] < 0), "off by|what is largest"),
    ("gate maps", gate_maps_by(lambda s: s.sum() < 0), "what is largest"),
    ("gate maps",
     lambda low, mean, high, s: torch.stack([s * mean, s.clamp(min=0) * high], 1), "off by"),
    ("spatial gate",
     lambda x, s, conv: torch.sigmoid(conv(torch.stack(
         [s * x.mean(0), s * (x.amin(0) if (s < 0).all() else x.amax(0))], 1)))[:, 0],
     "wrong where a weight is negative"),
    ("nearest by attribute", sorted_rows(0.0), "can still be among the k"),
    ("nearest by attribute", sorted_rows(None), "the query finds itself"),
    ("nearest by attribute", sorted_rows(None, sort=upwards), "the query finds itself"),
    ("nearest by attribute", sorted_rows(None, 1), "it drops what comes first"),
    ("nearest by attribute", sorted_rows(None, 1, upwards), "it drops what comes first"),
    ("nearest by attribute", without_row, "row numbers of a gallery without"),
    ("pointing game",
     lambda heat, region: heat[region].max() > 0.9 * heat.max(), "nearly the largest"),
    ("pointing game", lambda heat, region: True, "it says True for every map"),
    ("IoU",
     lambda heat, region, t: marked_over(
         region, (heat - heat.min()) / (heat.max() - heat.min()) >= t),
     "whatever the least one is"),
    ("IoU", lambda heat, region, t: marked_over(region, heat > t * heat.max()), "exactly this"),
    ("abstain", second_number(lambda right, given: (right & given).mean()), "right ones among all"),
    ("rows by name", rows_by(lambda i, name, old_names: i), "number in the old one"),
]  # fmt: skip
OTHER_RIGHT_ANSWERS = [
    *[("chance", mean_of_shuffles(many)) for many in (100, 200, 300, 500)],
    ("shuffled maps",
     lambda maps, rng: each(maps, lambda one: rng.permutation(one.ravel()).reshape(one.shape))),
    ("centre of a map", lambda s, offset: centre_of(s, s.sum()) + offset),
    ("attention pooling", lambda x, s: (s[:, None] * x).sum((2, 3))),
    ("gate maps", gate_maps_by(lambda s: s < 0)),
    ("spatial gate",
     lambda x, s, conv: conv(torch.stack(
         [s * x.mean(0), torch.maximum(s * x.amax(0), s * x.amin(0))], 1)).sigmoid().squeeze(1)),
    ("nearest by attribute", sorted_rows(-np.inf)),
    ("nearest by attribute", sorted_rows(-np.inf, sort=upwards)),
    ("nearest by attribute", sorted_rows(np.inf, 1)),
    ("nearest by attribute",
     lambda e, query, a, k: (rows := without_row(e, query, a, k)) + (rows >= query)),
    ("pointing game", lambda heat, region: heat[region].max() == heat.max()),
    ("IoU", lambda heat, region, t: marked_over(region, heat / heat.max() >= t)),
    ("abstain", second_number(lambda right, given: right[given].mean())),
    ("rows by name", rows_by(lambda i, name, old_names: old_names.index(name))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wrong", "said"), OTHER_WRONG_ANSWERS)
def test_a_wrong_answer_is_refused_every_time(name, wrong, said):
    for seed in range(40):
        assert re.search(said, CHECKS[name].judge(wrong, np.random.default_rng(seed)) or "taken")


@pytest.mark.parametrize(("name", "right"), OTHER_RIGHT_ANSWERS)
def test_a_right_answer_is_taken_every_time(name, right):
    for seed in range(200):
        assert CHECKS[name].judge(right, np.random.default_rng(seed)) is None


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_knows_four_slips_and_survives_anything(name):
    check = CHECKS[name]
    assert len(check.slips) >= 4
    for nonsense in (lambda *_: None, lambda *_: "nine", lambda: 0, lambda *_: np.nan, 3.0):
        assert check.judge(nonsense, np.random.default_rng(0))


def test_a_check_goes_on_with_what_is_right(capsys):
    def double(x):
        return 2 * x

    known = {"twice": compared(double, lambda rng: [(rng.normal(),)], {"half": lambda x: x / 2})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agman_lib.course.checks.all_checks", lambda: known)

        def blank(x):
            y = ...
            return y

        def mine(x):
            return x + x

        assert course.check("twice", ...) is double
        assert course.check("twice", blank) is double
        assert capsys.readouterr().out.count("still `...`") == 2
        assert course.check("twice", mine) is mine
        assert capsys.readouterr().out == "✓ twice: right.\n"
        assert course.check("twice", lambda x: x / 2) is double
        assert capsys.readouterr().out.startswith("✗ twice: half.\n")
        known["twice"].slips["half."] = known["twice"].slips.pop("half")
        course.check("twice", lambda x: x / 2)
        assert capsys.readouterr().out.startswith("✗ twice: half.\n")
        known["twice"].slips["half?"] = known["twice"].slips.pop("half.")
        course.check("twice", lambda x: x / 2)
        assert capsys.readouterr().out.startswith("✗ twice: half?\n")
        assert course.check("twice", lambda x: x + 1) is double
        assert "it is off by" in capsys.readouterr().out
        with pytest.raises(AgmanError, match="did you mean 'twice'"):
            course.check("twise", mine)


def test_a_blank_is_told_from_an_ellipsis_in_use():
    def used(x):
        return x[..., None]

    def half_filled(x):
        """With words."""
        y = x + 1
        z = ...
        return y, z

    def two(x: tuple[int, ...]) -> tuple[int, ...]:
        return x[0], ...

    def called(x):
        return np.mean(...) + x

    assert not left_empty(used)
    assert left_empty(half_filled)
    assert left_empty(two)
    assert left_empty(called)
    assert not left_empty(3)


@pytest.mark.parametrize(
    ("got", "expected", "said"),
    [
        (1.0, 1.0 + 1e-7, None),
        (np.float32(1), torch.tensor(1.0), None),
        (1.0, 1.001, "off by 0.001"),
        (None, 1.0, "is the `return` missing"),
        (np.ones((2, 3)), np.ones((3, 2)), "shape (2, 3), and (3, 2)"),
        (np.array([1, np.nan]), np.ones(2), "NaN"),
        (np.array([1, np.nan]), np.array([1, np.nan]), None),
        (np.array([2, np.nan]), np.array([1, np.nan]), "off by 1"),
        (np.ones(2), np.array([1, np.nan]), "a number where NaN is expected"),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0]), "off by inf"),
        ("a", 1.0, "numbers are expected"),
        ((1.0, "a"), (1.0, "b"), "of number 2"),
        ({"a": 1.0}, {"a": 2.0}, "of 'a'"),
        ({"a": 1.0}, {"b": 1.0}, "other keys"),
        (torch.ones(2, requires_grad=True), np.ones(2), None),
        ([3, 1, 2], np.array([3, 1, 2]), None),
        (True, False, "not right"),
    ],
)
def test_what_distinguishes_two_answers(got, expected, said):
    found = difference(got, expected)
    assert found is None if said is None else said in found


def test_an_error_is_said_with_what_would_be_rounding():
    assert "(an error up to 0.1 would be rounding)" in difference(1.0, 2.0, 0.1)
    assert "(no rounding is allowed here)" in difference(1, 2, 0)
