#!/usr/bin/env python3
"""Makes the descriptions in this directory from the API models in a copy of botocore (see README.md).

usage: trim.py BOTOCORE_DATA_DIRECTORY
"""
import gzip
import json
import pathlib
import sys

SERVICES = {"lambda": "2015-03-31", "signer": "2017-08-25"}
# The runtimes that AWS takes for new functions, in the order in which it prints them (recorded January 2026).
SUPPORTED = (
    "nodejs20.x python3.14 provided.al2023 python3.12 python3.13 nodejs24.x nodejs22.x java25 python3.10 python3.11 java21 ruby3.3 ruby3.4"
    " ruby3.2 python3.8 python3.9 java17 nodejs16.x dotnet10 dotnet8 java11 dotnet6 nodejs18.x provided.al2 java8.al2"
).split()
# The runtimes that AWS takes where layers are listed, in the order in which it prints them: its own model leaves some out (recorded January 2026).
LISTED = (
    "ruby3.5 ruby2.6 dotnetcore1.0 python3.7 nodejs8.10 nasa ruby2.7 python2.7-greengrass dotnetcore2.0 python3.8 java21 dotnet6"
    " dotnetcore2.1 python3.9 java11 nodejs6.10 provided dotnetcore3.1 dotnet8 java25 java17 nodejs nodejs4.3 java8.al2 go1.x"
    " dotnet10 nodejs20.x go1.9 byol nodejs10.x provided.al2023 nodejs22.x python3.10 java8 nodejs12.x python3.11 nodejs24.x"
    " nodejs8.x python3.12 nodejs14.x nodejs8.9 nodejs26.x python3.13 python3.14 nodejs16.x python3.15 provided.al2 nodejs4.3-edge"
    " nodejs18.x ruby3.2 python3.4 ruby3.3 ruby3.4 ruby2.5 python3.6 python2.7"
).split()
# Runtimes of the model that came after that.
LATER = ["ruby4.0", "java8.al2023", "java11.al2023", "java17.al2023"]
LAYER_VERSION = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
    r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
# Stands for what is there, moved to the end of its object.
LAST = object()
TAGGABLE = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?"
    r"|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
    r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)
# What AWS was seen to answer otherwise than its model says: a path into the description, and what stands there.
CORRECTIONS = {
    "lambda": {
        ("shapes", "SupportedRuntime"): {"type": "string", "enum": SUPPORTED},
        ("shapes", "CompatibleRuntimes", "member"): "SupportedRuntime",
        # Recorded: an unknown runtime of a function is a mistake against the rules, not against the model.
        ("shapes", "AnyRuntime"): {"type": "string"},
        ("shapes", "CreateFunctionRequest", "members", "Runtime", "shape"): "AnyRuntime",
        ("shapes", "UpdateFunctionConfigurationRequest", "members", "Runtime", "shape"): "AnyRuntime",
        # Recorded: 204, no body.
        ("operations", "DeleteFunction", "status"): 204,
        # Recorded: the elements' constraint is not wrapped in "Member must satisfy constraint: [..]".
        ("shapes", "CompatibleRuntimes", "bare"): True,
        ("shapes", "ListedRuntime"): {"type": "string", "enum": LISTED + LATER},
        ("shapes", "ListLayersRequest", "members", "CompatibleRuntime", "shape"): "ListedRuntime",
        ("shapes", "ListLayerVersionsRequest", "members", "CompatibleRuntime", "shape"): "ListedRuntime",
        # Recorded: mistakes of the runtimes come first.
        ("shapes", "PublishLayerVersionRequest", "members", "CompatibleArchitectures"): LAST,
        # Recorded: without the brackets that the model has around all of it.
        ("shapes", "LayerVersionArn", "pattern"): LAYER_VERSION,
        # Recorded: the order in which AWS prints them.
        ("shapes", "RecursiveLoop", "enum"): ["Terminate", "Allow"],
        ("shapes", "InvokeMode", "enum"): ["RESPONSE_STREAM", "BUFFERED"],
        ("shapes", "EventSourcePosition", "enum"): ["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"],
        # Recorded: what can have tags.
        ("shapes", "TaggableResource", "pattern"): TAGGABLE,
    },
    "signer": {},
}
KEPT = ("type", "enum", "pattern", "min", "max", "payload")


def load(data, service, date):
    for name in ("service-2.json", "service-2.json.gz"):
        path = data / service / date / name
        if path.exists():
            raw = path.read_bytes()
            return json.loads(gzip.decompress(raw) if name.endswith("gz") else raw)
    sys.exit(f"no model of {service} below {data}")


def member(name, value):
    kept = {"shape": value["shape"]}
    if "location" in value:
        kept["location"] = value["location"]
        kept["locationName"] = value["locationName"]
    return name, kept


def trim(model, corrections):
    operations, wanted = {}, []
    for name, operation in sorted(model["operations"].items()):
        kept = {"method": operation["http"]["method"], "uri": operation["http"]["requestUri"]}
        kept["status"] = operation["http"].get("responseCode", 200)
        if "input" in operation:
            kept["input"] = operation["input"]["shape"]
            wanted.append(kept["input"])
        operations[name] = kept
    shapes = {}
    while wanted:
        name = wanted.pop()
        if name in shapes:
            continue
        shape = model["shapes"][name]
        kept = {key: shape[key] for key in KEPT if key in shape}
        if shape["type"] == "structure":
            kept["required"] = shape.get("required", [])
            kept["members"] = dict(member(*item) for item in shape["members"].items())
            wanted += [item["shape"] for item in shape["members"].values()]
        elif shape["type"] == "list":
            kept["member"] = shape["member"]["shape"]
            wanted.append(kept["member"])
        elif shape["type"] == "map":
            kept["key"], kept["value"] = shape["key"]["shape"], shape["value"]["shape"]
            wanted += [kept["key"], kept["value"]]
        shapes[name] = kept
    trimmed = {"operations": operations, "shapes": dict(sorted(shapes.items()))}
    for (*path, last), value in corrections.items():
        place = trimmed
        for step in path:
            place = place[step]
        place[last] = place.pop(last) if value is LAST else value
    return trimmed


def lines(trimmed):
    """One line for each operation and shape, so that a change can be read."""
    for kind in ("operations", "shapes"):
        yield f'  "{kind}": {{\n' + ",\n".join(
            f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in trimmed[kind].items()
        ) + "\n  }"


def main():
    data, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent
    for service, date in SERVICES.items():
        trimmed = trim(load(data, service, date), CORRECTIONS[service])
        (here / f"{service}.json").write_text("{\n" + ",\n".join(lines(trimmed)) + "\n}\n")


main()
