"""What the documents say: their links, the files, names, keys and commands in them.

A command stands in an indented block or between backticks, on one line or on lines that
end in a backslash. What is in capitals, or has "my" in its name, is the reader's own.
"""

import dataclasses
import pathlib
import re
import shlex

from helpers.training_runs import REPOSITORY

DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "tests/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
SCRIPTS = {"train.py": "train", "eval.py": "eval", "bench.py": "bench"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"(?:^|\n)((?:    .*\n|\n)+)")
COMMAND = re.compile(
    r"(?:python[\d.]* +(?P<script>train\.py|eval\.py|bench\.py)"
    r"|python[\d.]* +-m +(?P<module>tokenjax[\w.]*)(?: +(?P<named>[a-z]\w*))?"
    r"|^tokenjax +(?P<name>[a-z]\w*))(?P<rest>(?: .*)?)$"
)
REST = re.compile(r"(?:'[^']*'|[^;&'|$]|\$(?!\())*")  # as far as the shell has one
PLACEHOLDER = re.compile(r"\.\.\.|\$|[A-Z]{3,}|\bmy_|\bMy|examples/")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line of a document: what is started, and its flags."""

    text: str
    name: str  # of tokenjax's command; "" where a module is started
    module: str
    flags: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it can be parsed as it stands: nothing in it is the reader's own."""
        values = (flag for flag in self.flags if not flag.startswith("--"))
        named = (flag for flag in self.flags if flag.startswith(("--config", "--imp")))
        return not any(PLACEHOLDER.search(each) for each in (*values, *named))


def read(document: str) -> str:
    """Return a document's text."""
    return (REPOSITORY / document).read_text()


def programs(text: str) -> list[str]:
    """Return the fenced blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Return where links and pictures lead, but for other sites."""
    return [target for target in LINK.findall(text) if "://" not in target]


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    words = (re.sub(r"[^\w\- ]", "", each.lower()) for each in HEADING.findall(text))
    return {each.strip().replace(" ", "-") for each in words}


def quoted(text: str) -> list[str]:
    """Return what stands between backticks, and in indented blocks line by line."""
    return QUOTED.findall(text) + block_lines(text)


def block_lines(text: str) -> list[str]:
    """Return the lines of indented blocks, continued lines as one."""
    lines = []
    for block in BLOCK.findall(text):
        joined = re.sub(r"\\\n\s*", "", block.replace(" \\\n", "  \\\n"))
        lines += [line.strip() for line in joined.splitlines() if line.strip()]
    return lines


def commands(text: str) -> list[Command]:
    """Return the commands of a text: of its blocks and of its backticks."""
    found = []
    for line in quoted(text):
        match = COMMAND.search(line)
        if match:
            rest = REST.match(match["rest"])[0]
            words = shlex.split(re.sub(r"[\[\]]", "", rest), comments=True)
            module = "" if match["module"] == "tokenjax" else match["module"] or ""
            given = match["name"] or ("" if module else match["named"])
            name = SCRIPTS.get(match["script"], given or "")
            if name or module:
                found.append(Command(line, name, module, tuple(words)))
    return found


def files(text: str) -> set[str]:
    """Return paths of files and folders of ours, "*" in them standing for anything."""
    words = {
        word.strip("\"'()[],;`").partition(":")[0].rstrip(".,")
        for word in re.split(r"\s+", " ".join(quoted(text)))
    }
    ours = re.compile(r"(configs|tokenjax|tests|docs|references|\.github)/[\w./*-]*")
    module = re.compile(r"[\w*]+(/[\w*]+)+\.py")
    return {
        word
        for word in words
        if (ours.fullmatch(word) or module.fullmatch(word))
        and not PLACEHOLDER.search(word)
    }


def names(text: str) -> set[str]:
    """Return dotted names of ours: `tokenjax.data.load`."""
    found = re.findall(
        r"(?<![\w/.])tokenjax(?:\.[A-Za-z_]\w*)+", "\n".join(quoted(text))
    )
    return {name for name in found if not PLACEHOLDER.search(name)}


def imports(text: str) -> list[str]:
    """Return the lines of blocks that import from tokenjax, whole ones."""
    starts = ("import tokenjax", "from tokenjax")
    return [each for each in block_lines(text) if each.startswith(starts)]


def keys(text: str) -> set[str]:
    """Return keys of configurations: of --config.KEY, and `section.key` alone."""
    joined = "\n".join(quoted(text))
    flags = re.findall(r"--config\.([a-z_]+(?:\.[a-z_0-9*]+)*)(?![\w(])", joined)
    alone = [
        each.partition("=")[0]
        for each in QUOTED.findall(text)
        if re.fullmatch(r"[a-z_]+\.[a-z_0-9*]+(=\S+)?", each)
    ]
    return set(flags) | {key for key in alone if key.partition(".")[0] in SECTIONS}


SECTIONS = (
    *("model", "data", "optimizer", "schedule", "checkpoint", "cluster", "imbalance"),
    *("distillation", "routing", "reid", "augmentation", "observation"),
)


def path_of(document: str, target: str) -> pathlib.Path:
    """Return the file that a link of a document leads to."""
    return (REPOSITORY / document).parent / target.partition("#")[0]
