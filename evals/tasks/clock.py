"""Time of day and calendar steps: generated, exact, no source needed.

It knows the 12- and the 24-hour clock, whole hours from UTC, weekdays and months. It does not know
where a zone is, nor daylight saving time.
"""

from __future__ import annotations

from evals.tasks.recipe import Recipe, Seed, asks, shuffled

TO_12 = (
    "Write {time} in 12-hour time with AM or PM.",
    "What is {time} on a 12-hour clock? Give AM or PM.",
    "Convert {time} to AM/PM time.",
)
TO_24 = (
    "Write {time} in 24-hour time.",
    "What is {time} on a 24-hour clock?",
    "Convert {time} to 24-hour time.",
)
SHIFT = (
    "It is {time} in UTC. What is the 24-hour time in UTC{zone:+d}?",
    "When UTC shows {time}, what does a 24-hour clock in UTC{zone:+d} show?",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
AFTER = (
    "Which {unit} comes {n} {unit}s after {start}?",
    "Start at {start} and go {n} {unit}s ahead. Which {unit} is it?",
    "What is the {unit} {n} {unit}s later than {start}?",
)
BEFORE = (
    "Which {unit} comes {n} {unit}s before {start}?",
    "Start at {start} and go {n} {unit}s back. Which {unit} is it?",
    "What is the {unit} {n} {unit}s earlier than {start}?",
)
TIMES = 900


def twelve_hour(hour: int, minute: int) -> str:
    """Return a time of day such as ``5:45 PM``; ``hour`` runs from 0 to 23."""
    return f"{(hour - 1) % 12 + 1}:{minute:02d} {'AM' if hour < 12 else 'PM'}"


def times() -> list[Seed]:
    """Times of day, moved between clocks and between zones."""
    keys = [f"{hour},{minute}" for hour in range(24) for minute in range(60)]
    seeds = []
    for number, key in enumerate(shuffled("clock", keys)[:TIMES]):
        hour, minute = (int(part) for part in key.split(","))
        day, half = f"{hour:02d}:{minute:02d}", twelve_hour(hour, minute)
        zone = (*range(-8, 0), *range(1, 10))[number % 17]
        there = f"{(hour + zone) % 24:02d}:{minute:02d}"
        ways = asks(TO_12, "time", half, time=day) + asks(TO_24, "time", day, time=half)
        seeds.append(Seed(key, (*ways, *asks(SHIFT, "time", there, time=day, zone=zone))))
    return seeds


def steps() -> list[Seed]:
    """Steps of up to 12 weekdays and 11 months, ahead and back."""
    seeds = []
    for unit, names, limit in (("weekday", WEEKDAYS, 12), ("month", MONTHS, 11)):
        for place, start in enumerate(names):
            for n in range(2, limit + 1):
                words = {"unit": unit, "n": n, "start": start}
                later = names[(place + n) % len(names)]
                sooner = names[(place - n) % len(names)]
                seeds.append(Seed(f"{start}+{n}", (*asks(AFTER, "choice", later, unit, **words),)))
                seeds.append(
                    Seed(f"{start}-{n}", (*asks(BEFORE, "choice", sooner, unit, **words),))
                )
    return seeds


RECIPES = (
    Recipe(
        "clock",
        "Clock times and time zones",
        "12- and 24-hour times and shifts by whole hours from UTC; "
        "the times tested were never trained on.",
        times,
    ),
    Recipe(
        "calendar",
        "Calendar steps",
        "Weekdays and months some steps ahead or back; the steps tested were never trained on.",
        steps,
    ),
)
