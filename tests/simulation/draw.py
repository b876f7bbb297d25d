"""A scenario drawn from a seed: always the same one."""

import random
from collections.abc import Iterator
from decimal import Decimal

from .ingredients import INGREDIENTS
from .scenario import IMAGES, VIDEO, BatchDraft, JobDraft, Scenario


def draw_scenario(seed: int) -> Scenario:
    """The scenario of a seed: always the same one."""
    dice = random.Random(f"scenario {seed}")
    numbers = iter(range(1000))
    scenario = Scenario(seed, [_batch(dice, numbers) for _ in range(dice.choice((1, 1, 1, 2, 2, 3)))])
    scenario.max_in_flight = dice.choice((1, 2, 4, 64))
    for odds, ingredient in INGREDIENTS:
        if dice.random() < odds:
            ingredient(scenario, dice)
            scenario.ingredients.append(ingredient.__name__)
    return scenario


def _batch(dice: random.Random, numbers: Iterator[int]) -> BatchDraft:
    jobs = []
    for _ in range(dice.choice((1, 2, 3, 4, 5, 6, 8, 12))):
        prompt = f"A thing #{next(numbers)}#"
        if dice.random() < 0.08:
            model, price, seconds = VIDEO
            jobs.append(JobDraft(model, Decimal(price), prompt, seconds))
        else:
            model, price = dice.choice(IMAGES)
            jobs.append(JobDraft(model, Decimal(price), prompt))
    return BatchDraft(jobs, bundle=dice.choice((1, 1, 1, 2, 4)))
