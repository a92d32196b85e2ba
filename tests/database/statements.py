"""Every SQL statement of the code, found by reading it, not by running it, and PREPAREd on a real database.

Found: strings that begin as a statement does, and the checks of gates (``SqlCheck``). A statement is put together by
evaluating its expression with its module's names. Names of its function are looked up in examples and in what the calls
of the function hand it (each call makes a statement), in what the loops around go through, in what the function assigns
before, and in the defaults of its parameters.

PREPARE looks every table, column, function and type up, and plans nothing. A temporary table that a statement asks for
is made first, by the statement of the code that makes it: of the same module, else of whichever module has one.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

PREPARED = ("SELECT", "WITH", "VALUES", "INSERT INTO", "UPDATE", "DELETE FROM")
EXECUTED = (
    "CREATE TEMPORARY TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "ANALYZE", "DROP TABLE", "TRUNCATE", "LOCK TABLE",
    "SET LOCAL", "ALTER TABLE",
)  # fmt: skip
BEGINNING = re.compile(rf"\s*({'|'.join(PREPARED + EXECUTED)})\s".replace(" ", r"\s+"))
CREATION = re.compile(r"\s*CREATE\s+TEMPORARY\s+TABLE\s+(\w+)\s*(.*)", re.DOTALL)
QUERY = re.compile(r"(?:ON COMMIT DROP\s+)?AS\s+(.*)", re.DOTALL)
MISSING = re.compile(r'(?:relation|table) "(\w+)" does not exist')
PLACE = re.compile(r"(?<!['\w])\{(?:[a-z_]\w*)?\}(?!')")
"""Where ``format`` fills something in."""
FRAGMENT = re.compile(r"(\bEXISTS|\bWHERE|\bAND|\bOR|\bON|\bFROM|[(,])\s*$")
"""How no statement ends: a constant that others begin with."""
NAMED_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""As SQLAlchemy's ``text`` reads it."""

Values = Mapping[str, Any]
Examples = Mapping[str, Values | Sequence[Values]]
"""By ``module:function``, or for all of a module or package: values of names that nothing in the code tells. Several
mappings of a function: the statement is made with each."""

FARTHEST = 5
"""Through how many assignments a value is followed."""

CHECK_ARGUMENTS = ("key", "wrong", "noun", "rows", "condition", "shown", "note")


class UnknownNameError(Exception):
    """A name of a statement that neither its module, nor its function, nor a call of that, nor an example tells."""


@dataclass(frozen=True)
class Statement:
    """``place``: module and line. ``key``: module:function, for examples."""

    module: str
    place: str
    key: str
    sql: str

    @property
    def created(self) -> str | None:
        """The temporary table that it makes."""
        found = CREATION.match(self.sql)
        return found[1] if found else None


@dataclass
class Code:
    """What was found. ``unknown``: by place, statements that need an example, and of which name. ``templates``: by
    name, constants with places for ``format``; ``filled``: those that some call of ``format`` fills."""

    statements: list[Statement] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    templates: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)


def read_modules(paths: Sequence[Path], root: Path, examples: Examples) -> Code:
    """All statements of the modules at ``paths`` (below ``root``, importable)."""
    sources = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    readers = [
        Reader(name, path.read_text(), vars(importlib.import_module(name)), examples) for name, path in sources.items()
    ]
    return read(readers)


def read(readers: Sequence[Reader]) -> Code:
    """All statements of these modules, which may call each other."""
    code, calls = Code(), _Calls(readers)
    for reader in readers:
        reader.calls = calls
    for reader in readers:
        reader.read(code)
    return code


@dataclass
class Reader:
    """One module: its source, its global names, and the examples of all."""

    module: str
    source: str
    names: Values
    examples: Examples

    def __post_init__(self) -> None:
        self.calls: _Calls
        self.tree = ast.parse(self.source)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def read(self, code: Code) -> None:
        """Its statements, into ``code``."""
        for node in ast.walk(self.tree):
            made = self._made_by(node)
            if made is not None:
                assert isinstance(node, ast.expr)
                self._add(code, node, made)

    def _made_by(self, node: ast.AST) -> Callable[[Values], str] | None:
        """How the statement that begins at ``node`` is made from values of its free names; null: none begins there."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SqlCheck":
            given = dict(zip(CHECK_ARGUMENTS, node.args, strict=False))
            given |= {word.arg: word.value for word in node.keywords if word.arg}
            parts = [given[name] for name in ("shown", "rows", "condition")]
            return lambda values: "SELECT {}, count(*) OVER () FROM ({}) AS told WHERE {}".format(
                *(self.value(part, values) for part in parts)
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            return (lambda values: str(self.value(node, values))) if self._is_constant(node.func.value) else None
        if isinstance(node, ast.Constant | ast.JoinedStr) and self._begins(node) and self._is_outermost(node):
            return lambda values: str(self._either(node, values))
        return None

    def _either(self, node: ast.expr, values: Values) -> Any:
        """What the string comes to: nothing, if its branch of a conditional expression is not taken."""
        whole = self._whole(node)
        branch = self.parents[whole]
        if isinstance(branch, ast.IfExp) and whole is not branch.test:
            with suppress(UnknownNameError):
                return self.value(branch, values)
        return self.value(whole, values)

    def _is_constant(self, node: ast.expr) -> bool:
        """A constant of some module that begins as a statement does."""
        known = self.names.get(node.id) if isinstance(node, ast.Name) else None
        return isinstance(known, str) and bool(BEGINNING.match(known))

    def _begins(self, node: ast.Constant | ast.JoinedStr) -> bool:
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
        if isinstance(first, ast.FormattedValue):
            value = first.value
            is_format = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)
            return self._is_constant(value.func.value if is_format else value)  # type: ignore[union-attr]
        return (
            isinstance(first, ast.Constant)
            and isinstance(first.value, str)
            and bool(BEGINNING.match(f"{first.value} "))
        )

    def _is_outermost(self, node: ast.AST) -> bool:
        """No part of another string, no docstring."""
        parent = self.parents[node]
        while isinstance(parent, ast.expr):
            if isinstance(parent, ast.JoinedStr):
                return False
            parent = self.parents[parent]
        return not isinstance(self.parents[node], ast.Expr)

    def _whole(self, node: ast.expr) -> ast.expr:
        """With the ``.format(…)`` and ``+`` that complete it."""
        parent = self.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr == "format":
            return self._whole(self.parents[parent])  # type: ignore[arg-type]
        return self._whole(parent) if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add) else node

    def _add(self, code: Code, node: ast.expr, made: Callable[[Values], str]) -> None:
        """The statement, with each set of values that makes one."""
        key, place = f"{self.module}:{self.function_name(node)}", f"{self.module}:{node.lineno}"
        code.keys.add(key)
        found, reasons = set(), []
        for values in self.bindings(node):
            try:
                if self._is_reached(node, values):
                    found.add(made(values))
            except UnknownNameError as error:
                reasons.append(str(error))
        if not found:
            code.unknown[f"{place} ({key})"] = reasons[0] if reasons else "by no call that can be followed"
        name = self._named(node)
        for sql in sorted(found):
            if name and FRAGMENT.search(sql):
                continue
            if PLACE.search(sql) and name:
                code.templates.add(name)
            elif BEGINNING.match(sql):
                code.statements.append(Statement(self.module, place, key, sql))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    code.filled.add(ast.unparse(node.func.value))
        code.filled |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if found else set()

    def _is_reached(self, node: ast.AST, values: Values) -> bool:
        """False where an ``if`` around it says no. What cannot be told counts as yes."""
        while node in self.parents and not isinstance(node, ast.FunctionDef):
            inner, node = node, self.parents[node]
            if isinstance(node, ast.If) and inner is not node.test:
                with suppress(UnknownNameError):
                    if bool(self.value(node.test, values)) is not (inner in node.body):
                        return False
        return True

    def _named(self, node: ast.AST) -> str | None:
        """The constant of the module that the string is."""
        parent = self.parents[node]
        is_constant = isinstance(parent, ast.Assign) and parent in self.tree.body
        return ast.unparse(parent.targets[0]) if is_constant else None  # type: ignore[attr-defined]

    def functions(self, node: ast.AST) -> Iterator[ast.FunctionDef]:
        """Those around it, from the innermost."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef):
                yield node

    def function_name(self, node: ast.AST) -> str:
        return next((function.name for function in self.functions(node)), "")

    def bindings(self, node: ast.AST) -> Iterator[Values]:
        """Sets of values of names around ``node``: of its loops, with the examples of its function or what its callers
        hand it."""
        key = f"{self.module}:{self.function_name(node)}"
        given = self.examples.get(key, {})
        examples = [given] if isinstance(given, Mapping) else list(given)
        callers = self.calls.arguments(self, node)
        for outer in [*examples, *({**examples[0], **values} for values in callers)]:
            yield from self._loops(node, outer)

    def _loops(self, node: ast.AST, values: Values) -> Iterator[Values]:
        """``values`` with each that the loops around ``node`` go through."""
        sets: list[Values] = [values]
        for target, things in self._iterated(node):
            try:
                elements = list(self.value(things, values))
            except (UnknownNameError, TypeError):
                continue
            sets = [{**some, **_unpacked(target, element)} for some in sets for element in elements]
        return iter(sets)

    def _iterated(self, node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
        while node in self.parents and not isinstance(node, ast.FunctionDef):
            node = self.parents[node]
            if isinstance(node, ast.For):
                yield node.target, node.iter
            elif isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
                yield from ((part.target, part.iter) for part in node.generators)

    def value(self, node: ast.expr, values: Values, depth: int = 0) -> Any:
        """What the expression comes to. Raises UnknownNameError."""
        known = dict(self.names) | {name: self._look_up(name, node, values, depth) for name in _free_names(node)}
        try:
            return eval(compile(ast.Expression(node), self.module, "eval"), known)
        except UnknownNameError:
            raise
        except Exception as error:
            raise UnknownNameError(f"{ast.unparse(node)[:80]}: {error!r}") from error

    def _look_up(self, name: str, node: ast.expr, values: Values, depth: int) -> Any:
        if name in values:
            return values[name]
        for function in self.functions(node):
            assigned = _assigned(function, name, node.lineno)
            if assigned is not None and depth < FARTHEST:
                return self.value(assigned, values, depth + 1)
            if name in _parameters(function):
                return self._of_module(name)
        return self.names[name] if name in self.names else self._of_module(name)

    def _of_module(self, name: str) -> Any:
        parts = self.module.split(".")
        for length in range(len(parts), 0, -1):
            given = self.examples.get(".".join(parts[:length]), {})
            if isinstance(given, Mapping) and name in given:
                return given[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise UnknownNameError(f"{name}: nothing in the code tells what it is")


class _Calls:
    """Which functions of the modules are called where."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.sites: dict[int, list[tuple[Reader, ast.Call]]] = {}
        self.known: dict[ast.FunctionDef, list[Values]] = {}
        for reader in readers:
            for node in ast.walk(reader.tree):
                called = _called(node, reader.names) if isinstance(node, ast.Call) else None
                if called is not None:
                    self.sites.setdefault(id(called), []).append((reader, node))  # type: ignore[arg-type]

    def arguments(self, reader: Reader, node: ast.AST) -> list[Values]:
        """What the function around ``node`` is handed, call by call, as far as the code tells."""
        functions = list(reader.functions(node))
        if not functions or reader.parents[functions[-1]] is not reader.tree:
            return []
        function = functions[-1]
        if function in self.known:
            return self.known[function]
        self.known[function] = []  # what calls itself is handed nothing new
        found: dict[str, Values] = {}
        for caller, call in self.sites.get(id(_unwrapped(reader.names.get(function.name))), []):
            for values in caller.bindings(call):
                arguments = _handed(caller, call, function, values)
                if arguments:
                    found[repr(arguments)] = arguments
        self.known[function] = list(found.values())
        return self.known[function]


def _called(call: ast.Call, names: Values) -> Any:
    if isinstance(call.func, ast.Name):
        return _unwrapped(names.get(call.func.id))
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return _unwrapped(getattr(names.get(call.func.value.id), call.func.attr, None))
    return None


def _unwrapped(function: Any) -> Any:
    return getattr(function, "__wrapped__", function)


def _handed(caller: Reader, call: ast.Call, function: ast.FunctionDef, values: Values) -> Values:
    """The arguments of a call that can be told; only texts, words and plain numbers make statements."""
    pairs = [*zip(_positional(function), call.args, strict=False)]
    pairs += [(word.arg, word.value) for word in call.keywords if word.arg]
    arguments = {}
    for name, argument in pairs:
        try:
            arguments[name] = caller.value(argument, values)
        except UnknownNameError:
            continue
    return arguments


def _positional(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]


def _parameters(function: ast.FunctionDef) -> set[str]:
    return {*_positional(function), *(argument.arg for argument in function.args.kwonlyargs)}


def _unpacked(target: ast.expr, element: Any) -> Values:
    if isinstance(target, ast.Name):
        return {target.id: element}
    assert isinstance(target, ast.Tuple)
    pairs = [_unpacked(part, value) for part, value in zip(target.elts, element, strict=True)]
    return {name: value for pair in pairs for name, value in pair.items()}


def _free_names(node: ast.expr) -> set[str]:
    stored = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    stored |= {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} - stored


def _assigned(function: ast.FunctionDef, name: str, line: int) -> ast.expr | None:
    """What the function assigns to ``name`` last before ``line``, or its default as a parameter."""
    arguments = function.args
    defaults = dict(zip(reversed(_positional(function)), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument.arg: value
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if value is not None
    }
    found = defaults.get(name)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and node.lineno < line:
            for target in node.targets:
                found = _matched(target, node.value, name) or found
        elif isinstance(node, ast.AnnAssign) and node.lineno < line and node.value is not None:
            found = _matched(node.target, node.value, name) or found
    return found


def _matched(target: ast.expr, value: ast.expr, name: str) -> ast.expr | None:
    if isinstance(target, ast.Name) and target.id == name:
        return value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
        return next((found for one, other in pairs if (found := _matched(one, other, name))), None)
    return None


class Server:
    """Looks statements up in one transaction, in which nothing stays."""

    def __init__(
        self, cursor: psycopg2.extensions.cursor, statements: Sequence[Statement], types: Mapping[str, str]
    ) -> None:
        """``types``: of parameters, by name, where the driver's value tells the type and the statement does not."""
        self.cursor = cursor
        self.types = types
        self.creators: dict[str, list[Statement]] = {}
        for statement in statements:
            if statement.created:
                self.creators.setdefault(statement.created, []).append(statement)

    def fault(self, statement: Statement) -> str | None:
        """What PostgreSQL says is wrong with it; null: nothing."""
        self.cursor.execute("SAVEPOINT looked_up")
        fault = self._fault(statement, statement.sql, frozenset())
        self.cursor.execute("ROLLBACK TO SAVEPOINT looked_up")
        return fault

    def _fault(self, statement: Statement, sql: str, wanted: frozenset[str]) -> str | None:
        """With the temporary tables that it needs: those of its own module, else any."""
        fault = self._try(sql)
        missing = MISSING.search(fault or "")
        if not missing or missing[1] in wanted:
            return fault
        faults = {}
        for creator in self._creators(missing[1], statement):
            self.cursor.execute("SAVEPOINT made")
            fault = self._fault(creator, creator.sql, wanted | {missing[1]}) or self._fault(statement, sql, wanted)
            if fault is None:
                return None
            faults[fault] = creator
            self.cursor.execute("ROLLBACK TO SAVEPOINT made")
            self.cursor.execute("RELEASE SAVEPOINT made")
        return " or ".join(faults) or fault

    def _creators(self, table: str, statement: Statement) -> list[Statement]:
        found = self.creators.get(table, [])
        own = [creator for creator in found if creator.module == statement.module and creator is not statement]
        return own or found

    def _try(self, sql: str) -> str | None:
        creation = CREATION.match(sql)
        query = QUERY.fullmatch(creation[2]) if creation else None
        if creation and query:
            types, fault = self._prepare(query[1])
            return fault or self._execute(f"CREATE TEMPORARY TABLE {creation[1]} AS {_with_nulls(query[1], types)}")
        if sql.split()[0] in {word.split()[0] for word in EXECUTED}:
            return self._execute(NAMED_PARAMETER.sub("'0'", sql))
        return self._prepare(sql)[1]

    def _prepare(self, sql: str) -> tuple[list[str], str | None]:
        """The types that its parameters are found to have, and the fault."""
        numbered, names = _numbered(sql)
        found, fault = self._prepare_typed(numbered, ["unknown"] * len(names))
        if fault and any(name in self.types for name in names):
            found, fault = self._prepare_typed(numbered, [self.types.get(name, "unknown") for name in names])
        return found, fault

    def _prepare_typed(self, numbered: str, types: list[str]) -> tuple[list[str], str | None]:
        """A parameter of which nothing tells the type is a text, as the driver's literals are."""
        while True:
            declared = f"({', '.join(types)})" if types else ""
            fault = self._execute(f"PREPARE looked_up{declared} AS {numbered}")
            untyped = re.search(r"could not determine data type of parameter \$(\d+)", fault or "")
            if not untyped or types[int(untyped[1]) - 1] == "text":
                break
            types[int(untyped[1]) - 1] = "text"
        if fault:
            return [], fault
        self.cursor.execute("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'looked_up'")
        (found,) = self.cursor.fetchone() or ([],)
        self.cursor.execute("DEALLOCATE looked_up")
        return list(found), None

    def _execute(self, sql: str) -> str | None:
        self.cursor.execute("SAVEPOINT tried")
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            self.cursor.execute("ROLLBACK TO SAVEPOINT tried")
            return f"{error.pgcode} {error.diag.message_primary}"
        return None


def _numbered(sql: str) -> tuple[str, list[str]]:
    """``:name`` as ``$1``…, and the parameters' names (those of ``$1``… are numbers)."""
    names = list(dict.fromkeys(NAMED_PARAMETER.findall(sql)))
    numbered = NAMED_PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", sql).replace("\\:", ":")
    most = max((int(number) for number in re.findall(r"\$(\d+)", numbered)), default=0)
    return numbered, names or [str(number + 1) for number in range(most)]


def _with_nulls(sql: str, types: Sequence[str]) -> str:
    return re.sub(r"\$(\d+)", lambda match: f"CAST(NULL AS {types[int(match[1]) - 1]})", _numbered(sql)[0])
