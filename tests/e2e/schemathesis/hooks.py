"""What schemathesis is told of Mailroom: ids that exist, numbers that make sense more often than not, and what an answer must be.

Without ids that exist every question would end at "there is no such thing".
"""

import dataclasses
import json
import os
import random
import zlib
from collections import Counter

import graphql
import requests
import schemathesis
from hypothesis import strategies as st
from hypothesis_graphql import nodes

URL = os.environ["MAILROOM_URL"]
SCHEMA = graphql.build_schema(open(os.environ["MAILROOM_SCHEMA"], encoding="utf-8").read())
# Those who ask must stay able to: no mutation gets to know their ids.
SPARED = set(os.environ["MAILROOM_SPARED"].split(","))
TALLY = os.environ["MAILROOM_TALLY"]

# What clients are promised (`src/graphql/error.rs`), without INTERNAL.
CODES = {
    "UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED",
    "COST_LIMIT_EXCEEDED", "RATE_LIMITED", "PERSISTED_QUERY_NOT_FOUND", "OPERATION_NOT_ALLOWED", "CURSOR_EXPIRED", "CONFLICT",
}

# What an argument is called, and what its id is of; any other is of anything.
KINDS = {
    "lead": "Lead", "deal": "Deal", "contact": "Contact", "mailbox": "Mailbox", "thread": "Thread", "role": "Role",
    "department": "Department", "parent": "Department", "draft": "Draft", "template": "Template", "activity": "Activity",
    "email": "Email", "original": "Email", "stage": "Stage", "user": "User", "connector": "User", "responsible": "User",
    "actor": "User", "folder": "Folder", "inbox": "Folder", "sent": "Folder", "item": "Deal",
}

HARVEST = """{
  users(first: 30) { nodes { id } } departments { id } roles { id } leadStages { id } dealStages { id }
  leads(first: 20) { nodes { id } pageInfo { endCursor } } deals(first: 20) { nodes { id } pageInfo { endCursor } }
  contacts(first: 20) { nodes { id } } mailboxes(first: 10) { nodes { id folders { id } } }
  emails(first: 40) { nodes { id thread { id } } pageInfo { endCursor } }
  timeline(last: 10) { nodes { id } liveCursor pageInfo { startCursor } } templates(first: 5) { nodes { id } } drafts(first: 5) { nodes { id } }
}"""

# The demo writes no mails of its own: some drafts and templates to play with.
MAKE = """mutation ($draft: CreateDraftInput!, $template: CreateTemplateInput!) {
  createDraft(input: $draft) { draft { id } } createTemplate(input: $template) { template { id } } }"""


def ask(query, **variables):
    token = os.environ["MAILROOM_ADMINISTRATOR"]
    answer = requests.post(
        URL, json={"query": query, "variables": variables}, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ).json()
    if "errors" in answer:
        raise RuntimeError(f"the harvest of ids was refused: {answer['errors']}")
    return answer["data"]


def found_in(value, name):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().endswith(name) and isinstance(inner, str):
                yield inner
            else:
                yield from found_in(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from found_in(inner, name)


def harvest():
    data = ask(HARVEST)
    # As whoever is asking for drafts now: they are their writer's alone.
    email = data["emails"]["nodes"][0]["id"]
    made = ask(MAKE, draft={"kind": "REPLY", "originalId": email}, template={"name": f"T{os.getpid()}", "subject": "S", "bodyText": "B"})
    ids = [found for found in dict.fromkeys(found_in([data, made], "id")) if found not in SPARED]
    return ids, list(found_in(data, "cursor"))


IDS, CURSORS = harvest()


def cursor(text):
    return nodes.String(text)


schemathesis.graphql.scalar("Cursor", st.one_of(st.sampled_from(CURSORS), st.text(max_size=40)).map(cursor))
schemathesis.graphql.scalar(
    "DateTime",
    st.one_of(
        st.datetimes().map(lambda at: at.isoformat() + "Z"),
        st.sampled_from(["2026-11-24T09:30:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60+14:00", "1-1-1", ""]),
    ).map(nodes.String),
)


class Sense(graphql.Visitor):
    """Puts ids that exist for made-up ones, and asks for pages of a size that there is; not always."""

    def __init__(self, types, dice):
        super().__init__()
        self.types, self.dice, self.names = types, dice, []

    def enter_argument(self, node, *_):
        self.names.append(node.name.value)

    def leave_argument(self, *_):
        self.names.pop()

    def enter_object_field(self, node, *_):
        # Made up, they end most changes before they have begun.
        if node.name.value in {"expectedVersion", "idempotencyKey"} and self.dice.random() < 0.8:
            return graphql.REMOVE
        self.names.append(node.name.value)
        return None

    leave_object_field = leave_argument

    def enter_field(self, node, *_):
        names = {argument.name.value for argument in node.arguments}
        if names & {"first", "last", "after", "before"} and self.dice.random() < 0.9:
            unwanted = self.dice.choice([{"last", "before"}, {"first", "after"}, {"last", "after", "before"}])
            wanted = tuple(argument for argument in node.arguments if argument.name.value not in unwanted)
            return dataclasses.replace(node, arguments=wanted)
        return None

    def is_id(self):
        kind = graphql.get_named_type(self.types.get_input_type())
        return kind is not None and kind.name == "ID"

    def an_id(self):
        if self.dice.random() < 0.1:
            return None
        stem = self.names[-1].removesuffix("Ids").removesuffix("Id")
        prefix = KINDS.get(stem, KINDS.get(stem.split("To")[-1].lower(), "")) + "_"
        fitting = [found for found in IDS if found.startswith(prefix)]
        if not fitting or self.dice.random() < 0.15:
            fitting = IDS
        return graphql.StringValueNode(value=self.dice.choice(fitting))

    def enter_string_value(self, node, *_):
        return self.an_id() if self.is_id() else None

    def enter_int_value(self, node, *_):
        if self.is_id():
            return self.an_id()
        if self.names and self.names[-1] in {"first", "last", "limit"} and self.dice.random() < 0.9:
            return graphql.IntValueNode(value=str(self.dice.randint(1, 5)))
        return None


@schemathesis.hook
def map_body(context, body):
    # Equal bodies stay equal, so that what is found can be found again.
    dice = random.Random(zlib.crc32(graphql.print_ast(body).encode("utf-8", "surrogatepass")))
    types = graphql.TypeInfo(SCHEMA)
    return graphql.visit(body, graphql.TypeInfoVisitor(types, Sense(types, dice)))


def selected(type_, selections, fragments):
    """The fields that are asked of an object of that type, by the name that they are answered under."""
    fields = {}
    for selection in selections:
        if isinstance(selection, graphql.FieldNode):
            name = (selection.alias or selection.name).value
            fields.setdefault(name, []).append(selection)
            continue
        if isinstance(selection, graphql.FragmentSpreadNode):
            selection = fragments[selection.name.value]
        condition = selection.type_condition and SCHEMA.type_map[selection.type_condition.name.value]
        fits = condition in (None, type_) or (graphql.is_abstract_type(condition) and SCHEMA.is_sub_type(condition, type_))
        if fits:
            for name, found in selected(type_, selection.selection_set.selections, fragments).items():
                fields.setdefault(name, []).extend(found)
    return fields


def mismatches(value, type_, asked, fragments, path):
    """Where what was answered is not what the schema promises."""
    if graphql.is_non_null_type(type_):
        if value is None:
            yield f"{path}: null in {type_}"
            return
        type_ = type_.of_type
    if value is None:
        return
    if graphql.is_list_type(type_):
        if not isinstance(value, list):
            yield f"{path}: no list in {type_}"
            return
        for place, inner in enumerate(value):
            yield from mismatches(inner, type_.of_type, asked, fragments, f"{path}[{place}]")
    elif graphql.is_enum_type(type_):
        if value not in type_.values:
            yield f"{path}: {value!r} is not of {type_}"
    elif graphql.is_scalar_type(type_):
        plain = {"Boolean": bool, "Int": int, "Float": (int, float)}.get(type_.name, str)
        if not isinstance(value, plain) or (plain is int and not -(2**31) <= value < 2**31):
            yield f"{path}: {value!r} is not of {type_}"
    else:
        yield from object_mismatches(value, type_, asked, fragments, path)


def object_mismatches(value, type_, asked, fragments, path):
    selections = [selection for node in asked for selection in node.selection_set.selections]
    if graphql.is_abstract_type(type_):
        # Which it is stands in what was asked, if anything can tell them apart at all.
        possible = SCHEMA.get_possible_types(type_)
        named = [kind for kind in possible if kind.name == value.get("__typename")]
        answers = [list(object_mismatches(value, kind, asked, fragments, path)) for kind in named or possible]
        if all(answers):
            yield from min(answers, key=len)
        return
    fields = selected(type_, selections, fragments)
    if list(value) != list(fields):
        yield f"{path}: {list(value)} where {list(fields)} were asked of {type_}"
        return
    for name, found in fields.items():
        field = found[0].name.value
        if field == "__typename":
            if value[name] != type_.name:
                yield f"{path}.{name}: {value[name]!r} is not {type_}"
        else:
            yield from mismatches(value[name], type_.fields[field].type, found, fragments, f"{path}.{name}")


tally = Counter()


@schemathesis.check
def answers_as_promised(ctx, response, case):
    tally["answers"] += 1
    try:
        judge(response, case)
    finally:
        with open(TALLY, "w", encoding="utf-8") as file:
            json.dump(tally, file)


def judge(response, case):
    tally[f"status {response.status_code}"] += 1
    assert response.status_code < 500, f"status {response.status_code}"
    content = response.headers["content-type"][0]
    assert content.startswith(("application/json", "application/graphql-response+json")), content
    answer = response.json()
    assert set(answer) <= {"data", "errors", "extensions"} and set(answer) & {"data", "errors"}, list(answer)
    for error in answer.get("errors", []):
        code = error.get("extensions", {}).get("code")
        tally[f"code {code}"] += 1
        assert code in CODES, f"an error {code}: {error}"
        assert error.get("message"), "an error without words"
    if answer.get("data") is None:
        assert answer.get("errors"), "neither data nor errors"
        return
    tally["with data"] += 1
    for payload in answer["data"].values():
        if isinstance(payload, dict) and payload.get("userErrors") == []:
            tally["changes made"] += 1
    document = graphql.parse(case.body if isinstance(case.body, str) else case.body["query"])
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, graphql.FragmentDefinitionNode)}
    operation = next(node for node in document.definitions if isinstance(node, graphql.OperationDefinitionNode))
    root = SCHEMA.get_root_type(operation.operation)
    # Where an error stands, what is above it may be null as far as the schema lets it; no further.
    found = list(object_mismatches(answer["data"], root, [operation], fragments, "data"))
    assert not found, f"not as the schema says: {found[:5]}"
