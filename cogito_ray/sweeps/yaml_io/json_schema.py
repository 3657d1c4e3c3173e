"""JSON Schemas (draft 2020-12) of sweep and run files, so that editors complete and check the YAML as it is typed.

An editor finds wrong keys and types; what takes trying the corners is found by `load` alone.
"""

from pydantic import JsonValue, TypeAdapter

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.domains import Domain
from cogito_ray.sweeps.space.dotted_paths import Tree, every_path
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.sweep_validation import BUNDLE_NAME

DRAFT = "https://json-schema.org/draft/2020-12/schema"
ENTRY = r"^[a-z_]+(\.[A-Za-z0-9_-]+)*\.([0-9]+|weights|sources)(\.[A-Za-z0-9_-]+)*$"
"""Paths into lists and mappings, whose entries no schema can list."""


EXTENDS: Tree = {
    "description": "YAML files, by paths from this file's folder, whose settings this file's own stand over.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}


def run_schema() -> Tree:
    """Of a run's file."""
    return {"$schema": DRAFT, "title": "cogito-ray run", **_extending(RunSpec.model_json_schema())}


def sweep_schema() -> Tree:
    """Of a sweep's file. Nothing is required inside `run`, for `space` may complete it."""
    run, sweep = _tree(_partial(RunSpec.model_json_schema())), SweepSpec.model_json_schema()
    domain = TypeAdapter(Domain).json_schema()
    parts = {**_tree(domain.pop("$defs")), **_tree(run.pop("$defs")), **_tree(sweep["$defs"])}
    run["properties"] = {"extends": EXTENDS, **_tree(run["properties"])}
    definitions = {**parts, "Domain": domain, "Run": run}
    space = {
        "type": "object",
        "minProperties": 1,
        "properties": {path: {"$ref": "#/$defs/Domain"} for path in sorted(set(every_path(RunSpec)))},
        "patternProperties": {ENTRY: {"$ref": "#/$defs/Domain"}, _bundle_name(): {"$ref": "#/$defs/Bundle"}},
        "additionalProperties": False,
    }
    properties = {**_tree(sweep["properties"]), "run": {"$ref": "#/$defs/Run"}, "space": space}
    whole = {**sweep, "properties": properties, "$defs": definitions}
    return {"$schema": DRAFT, "title": "cogito-ray sweep", **_extending(whole)}


def _bundle_name() -> str:
    """The names of axes that are no paths."""
    return f"^(?!({'|'.join(RunSpec.model_fields)})$){BUNDLE_NAME}$"


def _extending(schema: Tree) -> Tree:
    """The schema of a file that may extend others; nothing is then required of its outermost settings."""
    required: Tree = {"required": schema.pop("required")}
    properties = {"extends": EXTENDS, **_tree(schema["properties"])}
    return {**schema, "properties": properties, "if": {"required": ["extends"]}, "else": required}


def _partial(node: JsonValue) -> JsonValue:
    """The schema without what it requires; alternatives may then overlap."""
    if isinstance(node, dict):
        return {{"oneOf": "anyOf"}.get(key, key): _partial(part) for key, part in node.items() if key != "required"}
    return [_partial(part) for part in node] if isinstance(node, list) else node


def _tree(node: JsonValue) -> Tree:
    assert isinstance(node, dict)
    return node
