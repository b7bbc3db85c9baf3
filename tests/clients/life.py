"""The life of a function, with boto3: prints what was seen at each step as JSON."""

import io
import json
import os
import threading
import urllib.parse
import urllib.request
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))
ROLE = "arn:aws:iam::000000000000:role/r"
seen = {}


def package(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".js", text)
    return data.getvalue()


def call(name="life", qualifier=None, event=None):
    arguments = {"FunctionName": name, "Payload": json.dumps(event or {})}
    if qualifier:
        arguments["Qualifier"] = qualifier
    answer = client.invoke(**arguments)
    return [answer["StatusCode"], answer["ExecutedVersion"], json.load(answer["Payload"])]


def refused(action, **arguments):
    try:
        action(**arguments)
    except ClientError as error:
        answer = error.response
        return [answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer.get("Reason")]
    return None


def updated():
    client.get_waiter("function_updated_v2").wait(FunctionName="life", WaiterConfig={"Delay": 1})


# Created, called, changed, published.
one = package(index="exports.handler = async () => 'one';")
created = client.create_function(
    FunctionName="life", Runtime="nodejs22.x", Role=ROLE, Handler="index.handler", Code={"ZipFile": one}
)
seen["created"] = [created["State"], created["Version"]]
client.get_waiter("function_active_v2").wait(FunctionName="life", WaiterConfig={"Delay": 1})
seen["called"] = call()
seen["version"] = client.publish_version(FunctionName="life", Description="first")["Version"]
client.update_function_code(
    FunctionName="life",
    ZipFile=package(index="exports.handler = async (event) => event.tool ? require('tool')() : process.env.SAY;"),
)
updated()
client.update_function_configuration(FunctionName="life", Environment={"Variables": {"SAY": "two"}}, Timeout=5)
updated()
seen["second"] = client.publish_version(FunctionName="life")["Version"]
seen["versions"] = [call(qualifier="1"), call(qualifier="2")]

# An alias that shares.
client.create_alias(
    FunctionName="life",
    Name="live",
    FunctionVersion="1",
    RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
)
executed = [call(qualifier="live")[1] for _ in range(300)]
seen["shared"] = [executed.count("1") + executed.count("2"), 5 <= executed.count("2") <= 70]

# A layer.
layer = client.publish_layer_version(
    LayerName="tools",
    Content={"ZipFile": package(nodejs__node_modules__tool__index="module.exports = () => 'from the layer';")},
    CompatibleRuntimes=["nodejs22.x"],
)
client.update_function_configuration(FunctionName="life", Layers=[layer["LayerVersionArn"]])
updated()
seen["layered"] = call(event={"tool": True})

# Concurrency: one call at a time, and none of them left to another.
client.create_function(
    FunctionName="slow",
    Runtime="nodejs22.x",
    Role=ROLE,
    Handler="index.handler",
    Timeout=30,
    Code={"ZipFile": package(index="exports.handler = () => new Promise((done) => setTimeout(done, 4000, 'slept'));")},
)
client.get_waiter("function_active_v2").wait(FunctionName="slow", WaiterConfig={"Delay": 1})
client.put_function_concurrency(FunctionName="slow", ReservedConcurrentExecutions=1)
answers = []
threads = [
    threading.Thread(target=lambda: answers.append(refused(client.invoke, FunctionName="slow"))) for _ in range(3)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
seen["throttled"] = sorted(answers, key=lambda answer: answer is None)
client.delete_function_concurrency(FunctionName="slow")

# Provisioned.
client.put_provisioned_concurrency_config(FunctionName="life", Qualifier="2", ProvisionedConcurrentExecutions=1)
while True:
    provisioned = client.get_provisioned_concurrency_config(FunctionName="life", Qualifier="2")
    if provisioned["Status"] != "IN_PROGRESS":
        break
seen["provisioned"] = [provisioned["Status"], provisioned["AvailableProvisionedConcurrentExecutions"]]
client.delete_provisioned_concurrency_config(FunctionName="life", Qualifier="2")

# A URL, and who may call it.
url = client.create_function_url_config(FunctionName="life", AuthType="NONE")["FunctionUrl"]
client.add_permission(
    FunctionName="life",
    StatementId="all",
    Action="lambda:InvokeFunctionUrl",
    Principal="*",
    FunctionUrlAuthType="NONE",
)
seen["policy"] = json.loads(client.get_policy(FunctionName="life")["Policy"])["Statement"][0]["Sid"]
request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], headers={"host": urllib.parse.urlparse(url).netloc})
with urllib.request.urlopen(request) as answer:
    seen["url"] = [answer.status, answer.read().decode()]

# Asynchronous invocation's settings, tags, and the end.
client.put_function_event_invoke_config(FunctionName="life", MaximumRetryAttempts=0)
seen["retries"] = client.get_function_event_invoke_config(FunctionName="life")["MaximumRetryAttempts"]
client.tag_resource(Resource=created["FunctionArn"], Tags={"k": "v"})
seen["tags"] = client.list_tags(Resource=created["FunctionArn"])["Tags"]
client.delete_alias(FunctionName="life", Name="live")
client.delete_function(FunctionName="life")
seen["deleted"] = refused(client.get_function, FunctionName="life")
seen["left"] = sorted(function["FunctionName"] for function in client.list_functions()["Functions"])
# What AWS has and this server has not is refused in words that say so.
seen["unsupported"] = refused(client.list_capacity_providers)
print(json.dumps(seen))
