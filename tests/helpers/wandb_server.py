"""A loopback Weights & Biases server, in memory: enough for the genuine client to log, sync, resume and sweep.

It answers the operations that wandb 0.31 sends and records all requests. What it does not know it lists in
:attr:`WandbServer.unknown`, so that a test notices when a new client asks for more. Not modelled: permissions, rate
limits, sampling of history, downloads of artifacts, the web pages.
"""

import base64
import gzip
import itertools
import json
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import yaml  # a sweep arrives as YAML

ENTITY = "tester"
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
VIEWER = {"id": "V", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "flags": "{}", "admin": False}
WHEN = "2026-01-01T00:00:00"
CONSTANT: dict[str, Any] = {
    "Viewer": {"viewer": VIEWER | {"teams": {"edges": []}}},
    "ServerFeaturesQuery": {
        "serverInfo": {"features": [{"name": "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE", "isEnabled": True}]}
    },
    "OrganizationCoreWeaveOrganizationID": {},
    "OrgFeatureFlags": {},
    "FetchOrgEntityFromEntity": {},
    "XXHashDigestsEnabled": {},
    "MarkRunFilesUploaded": {"markRunFilesUploaded": {"success": True}},
    "FetchArtifactDigestAlgorithm": {"project": None},
}
"""Answers that depend on nothing."""


@dataclass
class Faults:
    """What goes wrong with the requests that come next."""

    fail: int = 0
    """So many requests are answered 500 and otherwise ignored."""
    drop: int = 0
    """So many requests are carried out, but their connection is closed without an answer."""
    delay: float = 0.0
    """Seconds that every answer takes."""


@dataclass
class Run:
    """What the server knows of one run."""

    project: str
    id: str
    sweep: str | None = None
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    state: str = "running"
    exit_code: int | None = None
    streams: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, bytes] = field(default_factory=dict)
    """Uploaded files by name."""
    raw_config: dict[str, Any] = field(default_factory=dict)

    def history(self) -> list[dict[str, Any]]:
        """The logged rows, oldest first."""
        return [json.loads(line) for line in self.streams[HISTORY]]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration without wandb's own entry."""
        return {key: entry["value"] for key, entry in self.raw_config.items() if key != "_wandb"}

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.streams[SUMMARY] or ["{}"])[-1])

    def stream(self, body: dict[str, Any]) -> None:
        """Take in a file_stream request. A line has its number, so that what comes twice counts once."""
        for name, chunk in body.get("files", {}).items():
            start = chunk["offset"]
            self.streams[name][start : start + len(chunk["content"])] = chunk["content"]
        self.state = "running"
        if body.get("complete"):
            self.exit_code = body.get("exitcode")
            self.state = "failed" if self.exit_code else "finished"

    def bucket(self) -> dict[str, Any]:
        """The run as GraphQL shows it."""
        history, events, output = (self.streams[name] for name in (HISTORY, "wandb-events.jsonl", "output.log"))
        telemetry = self.raw_config.get("_wandb", {}).get("value", {}).get("t", {})
        names = {"id": f"id-{self.id}", "name": self.id, "displayName": self.id, "sweepName": self.sweep}
        return (
            names
            | {"description": "", "notes": "", "tags": self.tags, "project": _project(self.project)}
            | {
                "config": json.dumps(self.raw_config),
                "wandbConfig": json.dumps({"t": telemetry}),
                "summaryMetrics": _strict(json.dumps(self.summary)),
                "historyTail": json.dumps([_strict(line) for line in history[-1:]]),
                "eventsTail": json.dumps(events[-1:]),
                "historyLineCount": len(history),
                "eventsLineCount": len(events),
                "logLineCount": len(output),
            }
        )


@dataclass
class Artifact:
    """A version of an artifact; ``files`` are its contents by name, less the manifest."""

    id: str
    name: str
    type: str
    digest: str
    client_id: str
    aliases: list[str]
    state: str = "PENDING"
    metadata: dict[str, Any] = field(default_factory=dict)
    made_by: str = ""
    used_by: list[str] = field(default_factory=list)
    """Runs by id."""
    linked: dict[str, list[str]] = field(default_factory=dict)
    """Its aliases in each collection, by name."""
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""


@dataclass
class Sweep:
    """A sweep: its configuration, the trials still to hand out, and those that were."""

    id: str
    project: str
    config: dict[str, Any]
    queue: deque[dict[str, Any]]
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters by run id."""
    stopping: set[str] = field(default_factory=set)
    """Runs that the next heartbeat is to end."""


class WandbServer:
    """Serves from a thread until :meth:`close`; ``server.url`` is what ``WANDB_BASE_URL`` takes.

    Attributes:
        runs: by id.
        artifacts: in order of creation; an identical upload is the same artifact.
        sweeps: by id.
        views: workspaces and reports, ``{id: fields of the mutation}``.
        alerts: fields of the mutations, in order.
        charts: Vega presets, ``{name: fields of the mutation}``.
        requests: ``(seconds, method, path, operation)`` of every request.
        unknown: operations and paths that the server could not answer.
        faults: what goes wrong next.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: list[Artifact] = []
        self.sweeps: dict[str, Sweep] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.alerts: list[dict[str, Any]] = []
        self.charts: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[float, str, str, str]] = []
        self.unknown: list[str] = []
        self.faults = Faults()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def stop(self, run_id: str) -> None:
        """End a trial of a sweep, as the button of the web page does."""
        with self._lock:
            self.sweeps[self.runs[run_id].sweep or ""].stopping.add(run_id)

    def writes(self) -> list[str]:
        """The operations that have changed a dashboard, in order."""
        changing = ("upsertView", "UpsertView2", "CreateCustomChart")
        return [operation for *_, operation in self.requests if operation in changing]

    def only_run(self) -> Run:
        (run,) = self.runs.values()
        return run

    # HTTP

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status, answer = server._answer(self.command, unquote(urlsplit(self.path).path), body)
                if status == 0:  # a dropped connection
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_PUT = do_GET = do_POST

            def handle(self) -> None:
                try:
                    super().handle()
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client was killed, or has given up waiting

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: requests are in ``server.requests``."""

        return Handler

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON; status 0 for a connection that is to be dropped."""
        operation = _operation(json.loads(body)) if path == "/graphql" else ""
        with self._lock:
            self.requests.append((time.time(), method, path, operation))
            delay, fail, drop = self.faults.delay, self.faults.fail > 0, self.faults.drop > 0
            self.faults.fail -= fail
            self.faults.drop -= drop and not fail
        self._closing.wait(delay)
        if fail:
            return 500, {"errors": [{"message": "injected fault"}]}
        with self._lock:
            try:
                answer = self._route(method, path, body)
            except (KeyError, IndexError, TypeError, ValueError) as error:  # a shape that this server does not know
                self.unknown.append(f"{operation or path}: {error!r}")
                answer = 400, {"errors": [{"message": repr(error)}]}
        return (0, None) if drop else answer

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        match (method, *path.strip("/").split("/")):
            case ("POST", "graphql"):
                return self._graphql(json.loads(body))
            case ("POST", "sdk", "otel", *_):
                pass  # telemetry of the client
            case ("POST", "files", _, _, run, "file_stream"):
                self.runs[run].stream(json.loads(body))
                return 200, {"exitcode": None, "limits": {}}
            case ("PUT", "storage", "run", run, *name):
                self.runs[run].files["/".join(name)] = body
            case ("PUT", "storage", "artifact", number, *name):
                self.artifacts[int(number)].files["/".join(name)] = body
            case ("PUT", "storage", "manifest", number):
                self.artifacts[int(number)].manifest = body
            case _:
                self.unknown.append(f"{method} {path}")
                return 404, {}
        return 200, {}

    def _url(self, *parts: str) -> str:
        return "/".join([f"{self.url}/storage", *(quote(part) for part in parts)])

    # GraphQL: the method of an operation takes its variables and gives its data

    def _graphql(self, request: dict[str, Any]) -> tuple[int, Any]:
        operation, variables = _operation(request), request.get("variables") or {}
        # upsertView (reports) and UpsertView2 (workspaces) are one mutation.
        name = {"UpsertView2": "upsertView"}.get(operation, operation)
        if name in CONSTANT:
            return 200, {"data": CONSTANT[name]}
        answer: Callable[[dict[str, Any]], Any] | None = getattr(self, f"_on_{name}", None)
        if answer is None:
            self.unknown.append(operation)
            return 400, {"errors": [{"message": f"unknown operation {operation}"}]}
        data = answer(variables)
        # 404 is how the server says that a sweep is gone.
        return (404, {"errors": [{"message": "not found"}]}) if data is None else (200, {"data": data})

    def _on_RunResumeStatus(self, v: dict[str, Any]) -> Any:
        run = self.runs.get(v["name"])
        return {"model": _project(v["project"]) | {"bucket": run.bucket() if run else None}}

    def _on_UpsertBucket(self, v: dict[str, Any]) -> Any:
        name = v.get("name") or (v.get("id") or "").removeprefix("id-")
        inserted = name not in self.runs
        run = self.runs.setdefault(name, Run(v.get("project") or "uncategorized", name))
        run.sweep = v.get("sweep") or run.sweep
        run.group, run.job_type = v.get("groupName") or run.group, v.get("jobType") or run.job_type
        run.tags = v.get("tags") or run.tags
        if v.get("config"):
            run.raw_config = json.loads(v["config"])
        return {"upsertBucket": {"bucket": run.bucket(), "inserted": inserted}}

    def _on_NotifyScriptableRunAlert(self, v: dict[str, Any]) -> Any:
        self.alerts.append(v)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _on_CreateRunFiles(self, v: dict[str, Any]) -> Any:
        files = [{"name": name, "uploadUrl": self._url("run", v["run"], name)} for name in v["files"]]
        return {"createRunFiles": {"runID": f"id-{v['run']}", "uploadHeaders": [], "files": files}}

    def _on_ArtifactType(self, v: dict[str, Any]) -> Any:
        found = [a for a in self.artifacts if a.name == v["name"].split(":")[0]]
        return {"project": {"artifact": {"artifactType": {"name": found[-1].type}} if found else None}}

    def _on_CreateArtifact(self, v: dict[str, Any]) -> Any:
        given = v["input"]
        name = given.get("artifactCollectionName") or given["artifactCollectionNames"][0]
        versions = [a for a in self.artifacts if a.name == name]
        same = [a for a in versions if a.digest == given["digest"] and a.state == "COMMITTED"]
        if same:
            artifact = same[-1]
        else:
            aliases = [alias["alias"] for alias in given.get("aliases") or []]
            artifact = Artifact(
                str(len(self.artifacts)), name, given["artifactTypeName"], given["digest"], given["clientID"], aliases
            )
            artifact.metadata = json.loads(given.get("metadata") or "{}")
            artifact.made_by = given.get("runName") or ""
            self.artifacts.append(artifact)
        sequence = {"latestArtifact": {"id": versions[-1].id} if versions else None}
        shown = {"id": artifact.id, "state": artifact.state, "artifactSequence": sequence}
        return {"createArtifact": {"artifact": shown}}

    def _on_CreateArtifactManifest(self, v: dict[str, Any]) -> Any:
        return {"createArtifactManifest": self._manifest(v["artifactID"])}

    def _on_UpdateArtifactManifest(self, v: dict[str, Any]) -> Any:
        return {"updateArtifactManifest": self._manifest(v["artifactManifestID"])}

    def _manifest(self, artifact: str) -> Any:
        file = {"id": artifact, "uploadUrl": self._url("manifest", artifact), "uploadHeaders": []}
        return {"artifactManifest": {"id": artifact, "file": file}}

    def _on_CreateArtifactFiles(self, v: dict[str, Any]) -> Any:
        nodes = []
        for file in v["input"]["artifactFiles"]:
            artifact, name = file["artifactID"], file["name"]
            upload = {"uploadUrl": self._url("artifact", artifact, name), "uploadHeaders": []}
            stored = {"storagePath": f"{artifact}/{name}", "uploadMultipartUrls": None, "artifact": {"id": artifact}}
            nodes.append(upload | stored)
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _on_CommitArtifact(self, v: dict[str, Any]) -> Any:
        artifact = self.artifacts[int(v["artifactID"])]
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _on_UseArtifact(self, v: dict[str, Any]) -> Any:
        artifact = self.artifacts[int(v["input"]["artifactID"])]
        artifact.used_by.append(v["input"]["runName"])
        return {"useArtifact": {"artifact": {"id": artifact.id}}}

    def _on_ArtifactByID(self, v: dict[str, Any]) -> Any:
        return {"artifact": self._artifact(self.artifacts[int(v["id"])])}

    def _on_LinkArtifact(self, v: dict[str, Any]) -> Any:
        given = v["input"]
        artifact, collection = self.artifacts[int(given["artifactID"])], given["artifactPortfolioName"]
        artifact.linked[collection] = [alias["alias"] for alias in given["aliases"]]
        project = _project(given["projectName"])
        shown = {"__typename": "ArtifactPortfolio", "name": collection, "project": project}
        membership = {"id": artifact.id, "versionIndex": 0, "createdAt": WHEN, "aliases": []}
        membership |= {"artifactCollection": shown, "artifact": self._artifact(artifact)}
        return {"result": {"versionIndex": 0, "artifactMembership": membership}}

    def _artifact(self, artifact: Artifact) -> dict[str, Any]:
        project = _project(self.runs[artifact.made_by].project)
        own = {key: getattr(artifact, key) for key in ("id", "digest", "state")}
        unset = dict.fromkeys(("description", "metadata", "historyStep", "commitHash", "updatedAt"))
        sizes = {"size": 0, "fileCount": len(artifact.files), "ttlDurationSeconds": -2, "ttlIsInherited": True}
        named = {
            "artifactSequence": {"name": artifact.name, "project": project},
            "artifactType": {"name": artifact.type},
        }
        return own | unset | sizes | named | {"versionIndex": 0, "tags": [], "createdAt": WHEN, "aliases": []}

    def _on_ClientIDMapping(self, v: dict[str, Any]) -> Any:
        found = [a.id for a in self.artifacts if a.client_id == v["clientID"]]
        return {"clientIDMapping": {"serverID": found[0]} if found else None}

    # Sweeps: a grid, handed out trial by trial

    def _on_UpsertSweep(self, v: dict[str, Any]) -> Any:
        sweep_id = v.get("id") or f"sweep{len(self.sweeps)}"
        if sweep_id not in self.sweeps:
            config = yaml.safe_load(v["config"])
            self.sweeps[sweep_id] = Sweep(sweep_id, v["projectName"], config, deque(_grid(config["parameters"])))
        shown = {"name": sweep_id, "project": _project(self.sweeps[sweep_id].project)}
        return {"upsertSweep": {"sweep": shown, "configValidationWarnings": []}}

    def _on_SweepWithRuns(self, v: dict[str, Any]) -> Any:
        sweep = self.sweeps.get(v["sweep"])
        if sweep is None:
            return {"project": {"sweep": None}}
        shown = {"id": sweep.id, "name": sweep.id, "method": "grid", "config": yaml.safe_dump(sweep.config)}
        shown |= {"state": "RUNNING" if sweep.queue else "FINISHED", "runs": {"edges": []}}
        return {"project": {"sweep": shown}}

    def _on_CreateAgent(self, v: dict[str, Any]) -> Any:
        return {"createAgent": {"agent": {"id": v["sweep"]}} if v["sweep"] in self.sweeps else None}

    def _on_Heartbeat(self, v: dict[str, Any]) -> Any:
        sweep = self.sweeps.get(v["id"])
        if sweep is None:
            return None
        alive = [run for run, running in json.loads(v["runState"]).items() if running]
        commands: list[dict[str, Any]] = [{"type": "stop", "run_id": run} for run in alive if run in sweep.stopping]
        sweep.stopping -= set(alive)
        if not alive and sweep.queue:
            run, parameters = f"{sweep.id}-trial{len(sweep.trials)}", sweep.queue.popleft()
            sweep.trials[run] = parameters
            args = {key: {"value": value} for key, value in parameters.items()}
            commands.append({"type": "run", "run_id": run, "program": sweep.config.get("program", ""), "args": args})
        elif not alive:
            commands.append({"type": "exit"})
        return {"agentHeartbeat": {"agent": {"id": sweep.id}, "commands": json.dumps(commands)}}

    # Workspaces, reports and charts

    def _on_upsertView(self, v: dict[str, Any]) -> Any:
        view_id = v.get("id") or base64.b64encode(f"View:{len(self.views)}".encode()).decode().rstrip("=")
        inserted = view_id not in self.views
        self.views[view_id] = self.views.get(view_id, {}) | v
        return {"upsertView": {"view": self._view(view_id), "inserted": inserted}}

    def _on_View(self, v: dict[str, Any]) -> Any:
        place = (v["name"], v["viewName"])
        named = [view_id for view_id, view in self.views.items() if (view["projectName"], view["name"]) == place]
        return {"project": {"allViews": {"edges": [{"node": self._view(view_id)} for view_id in named]}}}

    def _on_ProjectViews(self, v: dict[str, Any]) -> Any:
        kind, name = v.get("viewType", "runs"), v.get("viewName")
        edges = [
            {"node": self._view(view_id) | {"user": None}, "cursor": view_id}
            for view_id, view in self.views.items()
            if view["type"] == kind and view["projectName"] == v["project"] and name in (None, view["name"])
        ]
        return {"project": {"allViews": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}}

    def _on_SpecificReport(self, v: dict[str, Any]) -> Any:
        return {"view": self._view(v["reportId"])}

    def _view(self, view_id: str) -> dict[str, Any]:
        view = self.views[view_id]
        shown = {key: view.get(key) for key in ("type", "name", "displayName", "description", "spec")}
        return shown | {"id": view_id, "project": _project(view["projectName"]), "createdAt": WHEN, "updatedAt": WHEN}

    def _on_ProjectInternalId(self, v: dict[str, Any]) -> Any:
        return {"project": {"id": v["projectName"], "internalId": v["projectName"]}}

    def _on_GetDefaultEntity(self, _: dict[str, Any]) -> Any:
        return {"viewer": {"id": f"id-{ENTITY}", "entity": ENTITY}}

    def _on_GetProjects(self, _: dict[str, Any]) -> Any:
        names = sorted({run.project for run in self.runs.values()})
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": [{"node": _project(name)} for name in names]}}

    def _on_CreateProject(self, v: dict[str, Any]) -> Any:
        shown = _project(v["input"]["name"])
        return {"result": {"__typename": "UpsertModelPayload", "project": shown, "model": shown, "inserted": True}}

    def _on_CreateCustomChart(self, v: dict[str, Any]) -> Any:
        if v["chartName"] in self.charts:
            return None  # what W&B's server says to a name that is taken is not known
        self.charts[v["chartName"]] = v
        return {"createCustomChart": {"chart": {"id": v["chartName"]}}}


def _operation(request: dict[str, Any]) -> str:
    """The name of a GraphQL operation, which the Python half of the client gives in the query alone."""
    named = re.search(r"\b(?:query|mutation)\s+(\w+)", request["query"])
    return request.get("operationName") or (named[1] if named else request["query"][:80])


def _project(name: str) -> dict[str, Any]:
    entity = {"id": f"id-{ENTITY}", "name": ENTITY}
    when = {"createdAt": WHEN, "isBenchmark": False, "user": None}
    return {
        "__typename": "Project",
        "id": name,
        "internalId": name,
        "name": name,
        "entityName": ENTITY,
        "entity": entity,
    } | when


def _strict(text: str) -> str:
    """JSON without the bare ``NaN`` and ``Infinity`` that the client sends: it gets them back as strings."""
    return json.dumps(json.loads(text, parse_constant=str))


def _grid(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """All combinations of ``values``; a range has its two ends, a nested ``parameters`` is a value of its own."""
    choices = {key: _choices(entry) for key, entry in parameters.items()}
    return [dict(zip(choices, combination, strict=True)) for combination in itertools.product(*choices.values())]


def _choices(entry: dict[str, Any]) -> list[Any]:
    if "parameters" in entry:
        return _grid(entry["parameters"])
    if "values" in entry:
        return entry["values"]
    return [entry["value"]] if "value" in entry else [entry["min"], entry["max"]]
