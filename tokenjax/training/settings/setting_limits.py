"""What numbers of a configuration are too large, or no shares where shares are due."""

from typing import Any

LARGEST_COUNT = 2**31 - 1  # of steps, which are counted in int32

Problem = tuple[bool, str]


def limit_problems(s: Any) -> list[Problem]:
    """What is out of range in `Settings`, as (wrong, sentence)."""

    def at_most(value: float, maximum: float, key: str) -> Problem:
        return value > maximum, f"{key} must be at most {maximum}, got {value}"

    def share(value: float, key: str) -> Problem:
        return not 0 <= value < 1, f"{key} must be within [0, 1), got {value}"

    def from_zero(value: float, key: str) -> Problem:
        return value < 0, f"{key} must be at least 0, got {value}"

    rule, schedule = s.optimizer, s.schedule
    return [
        at_most(s.steps, LARGEST_COUNT, "steps"),
        at_most(s.batch_size, LARGEST_COUNT, "batch_size"),
        at_most(s.log_every_steps, LARGEST_COUNT, "log_every_steps"),
        from_zero(s.seed, "seed"),
        at_most(s.seed, 2**32 - 1, "seed"),
        share(rule.beta1, "optimizer.beta1"),
        share(rule.beta2, "optimizer.beta2"),
        share(rule.momentum, "optimizer.momentum"),
        from_zero(rule.epsilon, "optimizer.epsilon"),
        from_zero(schedule.minimum_learning_rate, "schedule.minimum_learning_rate"),
        from_zero(schedule.factor, "schedule.factor"),
        *(from_zero(epochs, "schedule.milestones") for epochs in schedule.milestones),
        (not s.model.get("name"), "model.name is missing"),
        (not isinstance(s.model.get("name", ""), str), "model.name must be text"),
    ]
