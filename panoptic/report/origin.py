"""The origin of results as the passport of a run records it: settings, code, machine, data and training."""

from collections.abc import Iterator, Mapping

from panoptic.passport.document import Passport


def settings_by_section(passport: Passport) -> dict[str, list[tuple[str, str]]]:
    """Return the settings of the results by section, as params.yaml has them."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for name, value in passport.section("settings").values.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append((key, _shown(value)))
    return sections


def changed_settings(passport: Passport) -> list[tuple[str, str, str]]:
    """Return the settings of which the weights had others: name, value in training, and value now."""
    if passport.weights is passport:
        return []
    before, now = passport.weights.section("settings").values, passport.section("settings").values
    return [
        (name, _shown(before.get(name)), _shown(now.get(name)))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def facts(passport: Passport) -> Iterator[tuple[str, str]]:
    """Yield what the passport records about code, machine, data and training."""
    weights, machine = passport.weights, passport.weights.section("machine").values
    code, diff = passport.section("code"), passport.section("code").child("diff")
    yield "commit", _shown(code.values.get("commit")) if code.has("commit") else "made outside of git"
    changed = f"{diff.integer('bytes')} bytes, in the passport" if diff.integer("bytes") else "none"
    yield "uncommitted changes", changed
    if code.has("lock"):
        yield "SHA-256 of the lock file", _shown(code.child("lock").values.get("sha256"))
    yield (
        "machine",
        ", ".join(_shown(machine[name]) for name in ("processor", "architecture", "libc") if name in machine),
    )
    yield "Python", _shown(machine.get("python"))
    libraries = machine.get("libraries")
    if isinstance(libraries, Mapping):
        yield "libraries", ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
    for name, file in passport.section("files").values.items():
        if name == "scores/metrics.json" and isinstance(file, Mapping):
            yield "SHA-256 of the scores", _shown(file.get("sha256"))
    if weights.type == "weights":
        yield from _training_facts(weights)
    signature = passport.signature
    yield "signature", f"by {signature.fingerprint}" if signature else "none"
    yield "digests of the passport", passport.broken_link() or "all match"


def _training_facts(weights: Passport) -> Iterator[tuple[str, str]]:
    files, training = weights.section("files"), weights.section("training")
    yield "SHA-256 of the weights", files.child("weights").text("sha256")
    machine = weights.section("machine").values
    processes = machine.get("processes")
    several = f" in {processes} processes" if isinstance(processes, int) and processes > 1 else ""
    yield "trained on", f"{_shown(machine.get('device'))}{several}"
    yield "training steps", str(training.integer("steps"))
    yield "initial weights", training.child("initial_weights").text("said")
    splits = weights.section("splits")
    yield "images", "; ".join(f"{splits.child(name).integer('images'):,} in {name}" for name in ("train", "val"))
    yield "images in both", str(splits.integer("shared_images"))
    walls = [session.values.get("wall_seconds") for session in weights.section("usage").objects("sessions")]
    seconds = sum(wall for wall in walls if isinstance(wall, int | float))
    yield "training took", f"{seconds / 60:.1f} minutes in {len(walls)} session{'s' if len(walls) > 1 else ''}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
