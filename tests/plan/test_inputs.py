"""What a plan is made of: read once, together; compared; stored and read again as the same value."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dynamo_ops.base.errors import DynamoError, PlanError, PolicyError, SettingsError
from dynamo_ops.base.settings import DetoxSettings, Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import PlanInputs, dealer_source, load_inputs, read_dealer_inputs, read_detox_inputs
from dynamo_ops.plan.story import inputs_of
from dynamo_ops.policy.language.source import SourceText
from tests.plan.made_of import NOW, made_of
from tests.plan.test_store import save

RULES = "rules:\n  one: {num_copies: 1, sources: [site.name == *], destinations: [site.name == *], replicas: [%s]}\n"
ODD = "\ufeff# größer\r\n\tDelete\tdataset.name == /ä*\r\nDismiss"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "config"
    for folder in (tmp_path / "policies", config / "enforcer", config / "dealer"):
        folder.mkdir(parents=True)
    (tmp_path / "policies" / "physics.txt").write_bytes(ODD.encode())
    (config / "partitions.txt").write_text("physics: dataset.name == /*/*/*\n")
    (config / "enforcer" / "physics.yaml").write_text(RULES % "dataset.name == /A")
    (config / "dealer" / "physics.yaml").write_text("partition: physics\n")
    (config / "gates.yaml").write_text(
        "detox: {attribute_max_age_h: 5, policies: {physics: {attribute_max_age_h: 7}}}\n"
        "dealer: {attribute_max_age_h: 9}\n"
    )
    return Settings(
        home=tmp_path,
        config_dir=config,
        policy_dir=tmp_path / "policies",
        detox=DetoxSettings(deletion_per_iteration=0.25, protected_sites=["T2_A"]),
    )


def read(settings: Settings, kind: str) -> PlanInputs:
    if kind == "detox":
        return read_detox_inputs(settings, "physics", NOW)
    return read_dealer_inputs(settings, "physics", NOW, seed=4)


def test_what_detox_reads(settings: Settings) -> None:
    inputs = read_detox_inputs(settings, "physics", NOW)
    assert inputs.policy.text == ODD
    assert inputs.policy.file == str(settings.policy_dir / "physics.txt")
    assert (inputs.attribute_max_age, inputs.deletion_per_iteration) == (timedelta(hours=7), 0.25)
    assert inputs.protected_sites == ("T2_A",)
    assert [rule.name for rule in inputs.enforcer_rules()] == ["one"]
    assert inputs.known_partitions().leaves("physics") == ("physics",)


def test_what_the_dealer_reads(settings: Settings) -> None:
    inputs = read_dealer_inputs(settings, "physics", NOW, seed=4)
    assert (inputs.policy.text, inputs.seed) == ("partition: physics\n", 4)
    assert inputs.attribute_max_age == timedelta(hours=9)


def test_another_policy_than_the_installed_one(settings: Settings) -> None:
    (settings.policy_dir / "physics.txt").unlink()
    tried = SourceText("tried.txt", "Dismiss")
    (settings.config_dir / "gates.yaml").write_text("{}")
    assert read_detox_inputs(settings, "physics", NOW, policy=tried).policy == tried
    (settings.config_dir / "dealer" / "physics.yaml").unlink()
    assert read_dealer_inputs(settings, "physics", NOW, seed=4, config=tried).policy == tried


def test_a_partition_may_have_no_rules(settings: Settings) -> None:
    (settings.config_dir / "enforcer" / "physics.yaml").unlink()
    inputs = read_detox_inputs(settings, "physics", NOW)
    assert (inputs.rules, inputs.enforcer_rules()) == (None, ())


@pytest.mark.parametrize("kind", ["detox", "dealer"])
def test_inputs_are_read_again_as_they_were_whatever_their_files_say_by_then(settings: Settings, kind: str) -> None:
    inputs = read(settings, kind)
    text = inputs.model_dump_json()
    for file in (*settings.policy_dir.rglob("*.txt"), *settings.config_dir.rglob("*.*")):
        file.unlink()
    again = load_inputs(text, file="inputs.json")
    assert again == inputs
    assert again.enforcer_rules() == inputs.enforcer_rules()
    assert again.known_partitions() == inputs.known_partitions()


def test_a_moment_is_the_same_in_any_time_zone() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    assert made_of(now=there).model_dump_json() == made_of(now=NOW).model_dump_json()
    with pytest.raises(ValueError, match="timezone"):
        made_of(now=datetime(2026, 3, 1))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "detox"}', '{"kind": "consistency"}'])
def test_what_is_no_inputs_is_named(text: str) -> None:
    with pytest.raises(PlanError, match=r"x/inputs\.json: cannot be read as the inputs of a plan"):
        load_inputs(text, file="x/inputs.json")


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("policies/physics.txt", PolicyError),
        ("config/partitions.txt", PolicyError),
        ("config/gates.yaml", SettingsError),
    ],
)
def test_a_file_that_is_missing_is_named(settings: Settings, file: str, error: type[DynamoError]) -> None:
    (settings.home / file).unlink()
    with pytest.raises(error, match=file.rsplit("/", 1)[-1]):
        read_detox_inputs(settings, "physics", NOW)


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"group: \xff", "is not UTF-8")])
def test_a_configuration_that_cannot_be_read_is_named(settings: Settings, content: bytes | None, reason: str) -> None:
    file = settings.config_dir / "dealer" / "physics.yaml"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"physics\.yaml: the dealer configuration cannot be read: .*{reason}"):
        dealer_source(settings, "physics")


def test_what_differs_is_named_by_its_file_or_its_setting() -> None:
    inputs = made_of()
    moved = inputs.model_copy(update={"policy": SourceText("elsewhere/physics.txt", inputs.policy.text)})
    assert inputs.differing(moved) == ()
    assert inputs.differing(made_of(policy="Protect", attribute_max_age_h=1)) == ("physics.txt", "attribute_max_age_h")
    ruled = made_of(rules=SourceText("enforcer/physics.yaml", "rules: {}"))
    assert inputs.differing(ruled) == ruled.differing(inputs) == ("enforcer/physics.yaml",)
    assert made_of("dealer").differing(made_of("dealer", seed=2)) == ("seed",)


# -- with a plan -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["detox", "dealer"])
@pytest.mark.parametrize("place", ["folder", "memory"])
def test_a_plan_keeps_what_it_was_made_of(
    database: Database, tmp_path: Path, settings: Settings, kind: str, place: str
) -> None:
    inputs = read(settings, kind)
    plan = save(database, tmp_path if place == "folder" else "memory://kept", inputs=inputs)
    loaded = plan_store.load(database, plan.id)
    assert (loaded.kind, loaded.partition, loaded.planned_for_at) == (kind, "physics", NOW)
    assert loaded.inputs() == inputs
    assert plan_store.policy_text(database, loaded) == inputs.policy.text
    assert inputs_of(database, settings, loaded) == inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(None, "cannot be read any more", id="gone"),
        pytest.param(("/*/*/*", "/A/*/*"), "was changed after the plan was made", id="changed"),
    ],
)
def test_inputs_that_are_not_those_of_the_plan_are_refused(
    database: Database, tmp_path: Path, change: tuple[str, str] | None, message: str
) -> None:
    plan = save(database, tmp_path)
    file = Path(plan.location) / "inputs.json"
    if change is None:
        file.unlink()
    else:
        file.write_text(file.read_text().replace(*change))
    with pytest.raises(PlanError, match=rf"plan {plan.id} of physics: .*inputs\.json {message}") as error:
        plan.inputs()
    assert error.value.facts == {"plan_id": plan.id, "state": "planned"}


@pytest.mark.parametrize("kind", ["detox", "dealer"])
def test_a_plan_of_an_older_version_has_its_policy_and_the_rest_of_the_files(
    database: Database, tmp_path: Path, settings: Settings, kind: str
) -> None:
    plan = save(database, tmp_path, kind=kind, policy="as it was", summary={"seed": 8})
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE plans SET summary = summary - 'inputs_sha256'")
    old = plan_store.load(database, plan.id)
    assert old.inputs() is None
    inputs = inputs_of(database, settings, old)
    assert inputs == read(settings, kind).model_copy(
        update={
            "policy": SourceText(f"policy of plan {plan.id}", "as it was"),
            **({"seed": 8} if kind == "dealer" else {}),
        }
    )
