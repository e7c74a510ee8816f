"""Mutation testing of the contracts: change one thing at a time and see whether the Foundry properties notice.

    python scripts/mutate.py --sample 300 --seed 1       a random sample, on all cores
    python scripts/mutate.py contracts/ResultNFT.sol     every mutant of one file

Works on copies in a temporary folder, never on the checkout. A mutant that does not compile, or compiles to the very
same code, is left out of the score. Writes what happened to ``reports/mutation.json``; survivors are explained in
``docs/mutation.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
FORGE = ROOT / "node_modules/@foundry-rs/forge-linux-amd64/bin/forge"
TARGETS = (
    "contracts/JobEscrow.sol",
    "contracts/OracleRegistry.sol",
    "contracts/ResultNFT.sol",
    "contracts/libraries/JobSlots.sol",
)
COPIED = ("contracts", "interfaces", "tests/foundry", "scripts", "foundry.toml")
TIMEOUT_SECONDS = 180
# Operator mutations: what is found outside comments and strings, and what takes its place.
OPERATORS = (
    ("ROR", r"(?<![<>=!])<(?![<=])", "<="),
    ("ROR", r"(?<![<>=!])>(?![>=])", ">="),
    ("ROR", r"<=", "<"),
    ("ROR", r">=", ">"),
    ("ROR", r"==", "!="),
    ("ROR", r"!=", "=="),
    ("LOR", r"&&", "||"),
    ("LOR", r"\|\|", "&&"),
    ("AOR", r"(?<!\+)\+(?![+=])", "-"),
    ("AOR", r"(?<!-)-(?![-=>])", "+"),
    ("AOR", r"\+=", "-="),
    ("AOR", r"-=", "+="),
    ("AOR", r"(?<![*/])\*(?![*/])", "/"),
    ("AOR", r"(?<![*/])/(?![*/])", "*"),
    ("UOR", r"\+\+", "--"),
    ("BOR", r"\btrue\b", "false"),
    ("BOR", r"\bfalse\b", "true"),
    ("LIR", r"\b0\b(?!x)", "1"),
)
NUMBER = re.compile(r"(?<![\w.])[1-9][\d_]*(?![\w.])")


@dataclass(frozen=True)
class Mutant:
    """One change: ``before`` became ``after`` in ``line`` of ``file``."""

    file: str
    line: int
    kind: str
    before: str
    after: str


def mutants(file: str) -> list[Mutant]:
    """Every mutant of a source file."""
    found = []
    lines = (ROOT / file).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        code = re.sub(r"//.*", "", line)
        bare = re.sub(r'"[^"]*"|\'[^\']*\'', lambda m: "_" * len(m[0]), code)
        if not bare.strip() or bare.strip().startswith(
            ("import", "pragma", "*", "using", "error", "event", "function")
        ):
            continue
        for kind, pattern, replacement in OPERATORS:
            for match in re.finditer(pattern, bare):
                after = line[: match.start()] + replacement + line[match.end() :]
                found.append(Mutant(file, number, kind, line.strip(), after.strip()))
        for match in NUMBER.finditer(bare):
            after = f"{line[: match.start()]}{int(match[0]) + 1}{line[match.end() :]}"
            found.append(Mutant(file, number, "CST", line.strip(), after.strip()))
        if "if (" in bare and (negated := _negated(line)):
            found.append(Mutant(file, number, "CNR", line.strip(), negated.strip()))
        if re.fullmatch(r"\s+[^{}]*;\s*", bare) and not re.match(
            r"\s*(return|[\w.\[\]() =>]+ (private|public|internal) )", bare
        ):
            found.append(Mutant(file, number, "SDR", line.strip(), "// removed"))
    return found


def _negated(line: str) -> str | None:
    """``if (c) …`` with the condition negated; nothing if the condition does not end on the line."""
    start = line.index("if (") + 4
    depth = 1
    for place in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[place], 0)
        if depth == 0:
            return f"{line[:start]}!({line[start:place]}){line[place:]}"
    return None


def judge(mutant: Mutant, workspace: Path, original_code: str) -> str:
    """``killed``, ``survived``, ``invalid`` (does not compile) or ``equivalent`` (the same bytes)."""
    source = workspace / mutant.file
    text = source.read_text()
    lines = text.splitlines(keepends=True)
    indent = re.match(r"\s*", lines[mutant.line - 1])[0]
    lines[mutant.line - 1] = f"{indent}{mutant.after}\n"
    source.write_text("".join(lines))
    try:
        if _forge(workspace, "build").returncode:
            return "invalid"
        if _bytecode(workspace) == original_code:
            return "equivalent"
        shutil.rmtree(workspace / "failures", ignore_errors=True)
        return "killed" if _forge(workspace, "test", "--fail-fast").returncode else "survived"
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        source.write_text(text)


def _forge(workspace: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "FOUNDRY_PROFILE": "legacy",
        "FOUNDRY_FUZZ_FAILURE_PERSIST_DIR": "failures",
        "FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR": "failures",
    }
    command = [str(FORGE), *arguments]
    return subprocess.run(command, cwd=workspace, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS)


def _bytecode(workspace: Path) -> str:
    """Creation code of the escrow, which contains the others'; the metadata hash of the sources is cut out."""
    artifact = json.loads((workspace / "build/forge/JobEscrow.sol/JobEscrow.json").read_text())
    return re.sub(r"a2646970667358221220[0-9a-f]{64}", "", artifact["bytecode"]["object"])


def _workspace(folder: Path) -> Path:
    for part in COPIED:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / part, target) if (ROOT / part).is_dir() else shutil.copy(ROOT / part, target)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    shutil.rmtree(folder / "tests/foundry/proofs")  # not what `forge test` runs
    return folder


def main() -> int:
    """Run a campaign; exit code 0 if the score reaches the wanted one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", default=TARGETS)
    parser.add_argument("--sample", type=int, help="this many mutants at random instead of all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--wanted", type=float, default=0.9, help="share that must be killed")
    options = parser.parse_args()
    todo = [mutant for file in options.files for mutant in mutants(file)]
    total = len(todo)
    if options.sample and options.sample < total:
        todo = random.Random(options.seed).sample(todo, options.sample)
    outcomes: list[tuple[Mutant, str]] = []
    with tempfile.TemporaryDirectory(prefix="qscrow-mutation-") as scratch:
        spaces: Queue[Path] = Queue()
        for number in range(options.workers):
            spaces.put(_workspace(Path(scratch) / str(number)))
        first = spaces.get()
        if _forge(first, "build").returncode or _forge(first, "test").returncode:
            print("error: the properties fail without any mutation; run `make foundry`", file=sys.stderr)
            return 2
        original = _bytecode(first)
        spaces.put(first)

        def work(mutant: Mutant) -> None:
            space = spaces.get()
            try:
                outcome = judge(mutant, space, original)
            finally:
                spaces.put(space)
            outcomes.append((mutant, outcome))
            where = f"{mutant.file}:{mutant.line} {mutant.kind}"
            print(f"[{len(outcomes)}/{len(todo)}] {outcome:10} {where}: {mutant.after[:90]}", flush=True)

        with ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(work, todo))
    return _report(outcomes, total, options)


def _report(outcomes: list[tuple[Mutant, str]], total: int, options: argparse.Namespace) -> int:
    counts = {name: sum(o == name for _, o in outcomes) for name in ("killed", "survived", "equivalent", "invalid")}
    judged = counts["killed"] + counts["survived"]
    score = counts["killed"] / judged if judged else 0.0
    report = ROOT / "reports" / "mutation.json"
    report.parent.mkdir(exist_ok=True)
    survivors = [asdict(mutant) for mutant, outcome in outcomes if outcome == "survived"]
    facts = {"mutants": total, "tried": len(outcomes), **counts, "score": round(score, 4), "survivors": survivors}
    report.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{total} mutants, {len(outcomes)} tried: {counts}; score {score:.1%}; see {report.relative_to(ROOT)}")
    return 0 if score >= options.wanted else 1


if __name__ == "__main__":
    sys.exit(main())
