"""What is in ``deploy/`` and ``docs/operators.md`` against the code it talks about."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from oracle.cli.catalogue import all_settings
from oracle.cli.main import COMMANDS, load_command
from oracle.cli.settings import read_settings
from oracle.jobs import errors
from oracle.node.config import NodeConfig
from oracle.node.ingest import FinalityBroken
from oracle.node.journal import Step
from oracle.node.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "qscrow-oracle.service"
MANUAL = (ROOT / "docs" / "operators.md").read_text()
EXECUTABLE = "/opt/qscrow/bin/qscrow"
OTHERS = {"QSCROW_HOME", "QSCROW_CONFIG", "QSCROW_PRIVATE_KEY", "QSCROW_SECTION_KEY"}


def variables() -> set[str]:
    """Every environment variable that is read."""
    names = {name for s in all_settings() for name in (s.variable, *s.names)}
    return names | {f"{name}_FILE" for s in all_settings() if s.by_file for name in (s.variable, *s.names)} | OTHERS


def require_command(words: list[str]) -> None:
    """Fail unless ``words`` (without ``qscrow``) call an existing command with existing options."""
    assert words[0] in COMMANDS
    command = load_command(words[0])
    rest = words[1:]
    while getattr(command, "commands", None):
        assert rest[0] in command.commands, f"qscrow {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, f"qscrow {' '.join(words)}"


def unit() -> dict[str, list[tuple[str, str]]]:
    """The unit's entries by section; keys may come several times."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            entries = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            entries.append((key, value))
    return sections


def value(key: str) -> str:
    (found,) = [text for name, text in unit()["Service"] if name == key]
    return found


# -------------------------------------------------------------------------------------------------- systemd


def test_unit__its_commands_and_variables__exist():
    commands = [text.lstrip("-") for key, text in unit()["Service"] if key.startswith("Exec")]
    assert len(commands) == 2
    for command in commands:
        executable, *words = shlex.split(command)
        assert executable == EXECUTABLE
        require_command(words)
    named = {text.partition("=")[0] for key, text in unit()["Service"] if key == "Environment"}
    assert named <= variables()


def test_unit__restarts__leave_to_people_what_they_have_to_decide():
    kept_down = {int(code) for code in value("RestartPreventExitStatus").split()}

    assert value("Restart") == "on-failure"
    assert kept_down == {errors.InputError.exit_code, FinalityBroken.exit_code}
    assert errors.ChainUnavailable.exit_code not in kept_down


def test_unit__stopping__gives_the_node_time_to_drain():
    assert int(value("TimeoutStopSec")) > NodeConfig().drain_seconds
    assert value("KillMode") == "mixed"  # or the workers would be stopped in the middle of their circuits


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_unit__systemd__finds_nothing_wrong(tmp_path):
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace(EXECUTABLE, sys.executable))

    checked = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, timeout=60)

    about_it = [line for line in checked.stderr.splitlines() if UNIT.name in line or str(tmp_path) in line]
    assert (checked.returncode, about_it) == (0, [])


# --------------------------------------------------------------------------------------------------- docker


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def instruction(name: str) -> str:
    """The last one of that name."""
    return [text for word, text in dockerfile() if word == name][-1]


def test_dockerfile__entry_point_and_variables__exist():
    (executable,) = json.loads(instruction("ENTRYPOINT"))
    assert f'{executable} = "oracle.cli.main:main"' in (ROOT / "pyproject.toml").read_text()
    require_command(json.loads(instruction("CMD")))
    named = set(re.findall(r"\b(QSCROW_\w+)=", instruction("ENV")))
    assert named and named <= variables()


def test_dockerfile__image__is_pinned_and_runs_as_nobody_special():
    bases = [text.split()[0] for word, text in dockerfile() if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.1[123](\.\d+)?-slim-\w+", base) for base in bases)
    user, _, group = instruction("USER").partition(":")
    assert int(user) > 0 and int(group) > 0
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_dockerfile__health_check__asks_the_port_that_is_set():
    (port,) = re.findall(r"QSCROW_WATCH_METRICS_PORT=(\d+)", instruction("ENV"))
    assert f"127.0.0.1:{port}/health" in instruction("HEALTHCHECK")
    assert instruction("EXPOSE") == port


def test_dockerfile__what_it_copies__is_let_in():
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {
        source
        for word, text in dockerfile()
        if word == "COPY" and not text.startswith("--from")
        for source in text.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


# ------------------------------------------------------------------------------------------------- settings


def test_example_file__is_accepted(tmp_path):
    shutil.copy(DEPLOY / "qscrow.toml", tmp_path)
    (tmp_path / "rpc-urls").write_text("https://one.example/key\nhttps://two.example\n")

    settings, problems = read_settings(config=tmp_path / "qscrow.toml", env={"QSCROW_HOME": str(tmp_path)})

    assert problems == []
    assert settings.rpc == ("https://one.example/key", "https://two.example")
    assert settings.node.metrics_port == 9464


# --------------------------------------------------------------------------------------------------- alerts


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def exposed() -> dict[str, set[str]]:
    """Every series that a node exposes, with the labels it has."""
    from oracle.chain.endpoints import Health

    metrics = Metrics()
    metrics.endpoints([Health("https://one.example", "ok", 0, "", 1, 0.1)])
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def test_alerts__each__is_complete_and_in_the_manual():
    names = [rule["alert"] for rule in alerts()]

    assert len(names) == len(set(names)) > 5
    for rule in alerts():
        assert rule["expr"].strip() and rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "warn", "info")
        assert f"\n### {rule['alert']}\n" in MANUAL
    assert set(re.findall(r"^### (Qscrow\w+)$", MANUAL, re.M)) == set(names)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_alerts__metrics_and_labels__exist(rule):
    known = exposed()
    named = re.findall(r"\b(qscrow_\w+|up)\b(?:\{(\w+)=~?\"([^\"]*)\"\})?", rule["expr"])

    assert named
    for metric, label, _ in named:
        assert metric == "up" or metric in known
        assert not label or metric == "up" or label in known[metric]
    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert used <= set().union(*(known.get(metric, set()) for metric, _, _ in named))


def test_alerts__values_of_labels__are_among_those_counted():
    text = "\n".join(rule["expr"] for rule in alerts())

    # These wait for others, as long as it takes: a challenge, a promotion, IBM's queue.
    patient = ("simulated", "submitted", "delivered", "closed")
    assert set(re.search(r'step=~"([^"]+)"', text)[1].split("|")) == {s for s in Step if s not in patient}
    assert set(re.findall(r'event="(\w+)"', text)) == {"closed"}


# --------------------------------------------------------------------------------------------------- manual


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("operators_tables", ROOT / "scripts" / "operators_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manual__its_tables__are_those_of_the_code(tables):
    assert tables.with_tables(MANUAL) == MANUAL
    assert all(f"| `{setting.key}` |" in MANUAL for setting in all_settings())
    series = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed() if name.startswith("qscrow_")}
    assert set(re.findall(r"^\| `(qscrow_\w+)` \|", MANUAL, re.M)) == series


def test_manual__every_command_and_option__exists():
    quoted = re.findall(r"`(qscrow [^`]+)`", MANUAL.replace("\n", " "))
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", MANUAL, re.M | re.S)).replace("\\\n", " ")
    typed = [line[line.index("qscrow ") :] for line in blocks.splitlines() if re.match(r"qscrow |.*/bin/qscrow ", line)]
    typed = [line.rpartition("/bin/")[2] for line in typed]
    assert len(quoted) > 10 and len(typed) > 4
    for line in [*quoted, *typed]:
        words = shlex.split(re.split(r"\s{3,}", line)[0])
        require_command(words[1:])


def test_manual__every_setting_and_variable_in_its_text__exists():
    settings = {setting.name for setting in all_settings()}
    settings |= {f"{setting.name}_file" for setting in all_settings() if setting.by_file}
    sections = {setting.section for setting in all_settings()}
    named = {text for text in re.findall(r"`(\w+\.\w+)(?: = [^`]*)?`", MANUAL) if text.partition(".")[0] in sections}

    assert len(named) > 10
    assert named <= settings
    assert set(re.findall(r"\b(QSCROW_\w+)", MANUAL)) <= variables()


def test_manual__exit_codes__are_those_of_the_unit_and_the_errors():
    table = dict(re.findall(r"^\| (\d+) \| .* \| (yes|no) \|$", MANUAL, re.M))

    kept_down = set(value("RestartPreventExitStatus").split())
    assert {code for code, again in table.items() if again == "no"} == kept_down | {"0"}
    known = {errors.InputError, errors.ChainError, errors.JournalError, FinalityBroken}
    assert set(table) == {"0", "70", *(str(each.exit_code) for each in known)}


def test_manual__links_inside__lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", MANUAL, re.M)
    }

    anchors = re.findall(r"\]\(#([^)]+)\)", MANUAL.replace("\n", " "))
    files = re.findall(r"\]\((\.\./[^)#]+)\)", MANUAL)
    assert anchors and set(anchors) <= headings
    assert files and all((ROOT / "docs" / name).exists() for name in files)
