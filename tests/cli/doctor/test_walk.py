"""The whole walk, on a real API server, with a real tenant's API to ask."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from syntera_cli.__main__ import app
from syntera_crds.contract import names
from tests.charts.installed import Request, check_allowed, eventually
from tests.cli.conftest import RunningTenant
from tests.support.apiserver import RunningApiServer

from .site import Site

pytestmark = pytest.mark.api


@pytest.fixture
def site(api_server: RunningApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    monkeypatch.setenv("COLUMNS", "80")
    made = Site.make(api_server)
    yield made
    made.remove()


@pytest.fixture
def examine(site: Site, tenant: RunningTenant) -> Callable[..., Result]:
    """Runs the doctor on the site's tenant, whose API is the running one."""

    def run(*arguments: str, key: str = tenant.key) -> Result:
        operator = ("--operator", f"{site.system}/{site.operator}")
        given = ["doctor", site.tenant, *operator, "--url", tenant.url, *arguments]
        return CliRunner().invoke(app, given, env={"SYNTERA_API_KEY": key})

    return run


def findings(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return found


def test_healthy_tenant_is_well(examine: Callable[..., Result], tenant: RunningTenant) -> None:
    told = examine("--output", "json")
    states = {finding["check"]: finding["state"] for finding in findings(told)}
    assert (told.exit_code, set(states.values())) == (0, {"ok"}), told.stdout
    assert list(states) == [
        "cluster",
        "kinds",
        "operator",
        "lease",
        "admission",
        "tenant",
        "conditions",
        "stores",
        "namespace",
        "references",
        "runtime",
        "pods",
        "events",
        "agents",
        "question",
    ]
    (asked,) = [finding for finding in findings(told) if finding["check"] == "question"]
    assert 0 < asked["figures"]["secondsToFirstWord"] <= asked["figures"]["seconds"]
    (received,) = tenant.stand_in.journal()
    assert "are you there?" in received.body["messages"][-1]["content"]


def test_report_for_people_ends_with_the_verdict(examine: Callable[..., Result]) -> None:
    told = examine()
    assert told.exit_code == 0
    assert told.stdout.splitlines()[-1] == "All is well."


def test_no_value_of_a_secret_is_printed(examine: Callable[..., Result], site: Site, tenant: RunningTenant) -> None:
    site.delete("secrets/openai")
    said = "".join(told.output for told in (examine(), examine("-o", "json"), examine(key="")))
    for secret in ("not-to-be-printed", site.key, tenant.key):
        assert secret not in said


def test_nothing_is_asked_when_that_is_not_wanted(examine: Callable[..., Result], tenant: RunningTenant) -> None:
    told = examine("--no-question", "-o", "json")
    assert told.exit_code == 0
    assert findings(told)[-1]["says"] == "No question was asked, as you wished."
    assert tenant.stand_in.journal() == []


def test_agent_that_is_named_is_asked(examine: Callable[..., Result]) -> None:
    assert "The Agent 'quiet' answers" in examine("--agent", "quiet", "--output", "json").stdout


def test_tenant_s_own_key_is_read_where_none_is_given(examine: Callable[..., Result]) -> None:
    """The running API belongs to no operator, so it does not know the key in the Secret: that is told, too."""
    told = examine("-o", "json", key="")
    assert told.exit_code == 1
    assert findings(told)[-1]["command"].endswith(f"delete secret {names.ADMIN_SECRET}")


def break_secret(site: Site) -> None:
    site.delete("secrets/openai")


def break_conditions(site: Site) -> None:
    site.tell_tenant(DatabaseReady=("False", "Unavailable", "PostgreSQL is not available."))


def break_pods(site: Site) -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    site.set_pods(site.namespace, container=waiting, ready=False)


def break_agent(site: Site) -> None:
    site.make_agent("broken", reason="EndpointNotFound", message="There is no endpoint 'x'.")


def break_knowledge(site: Site) -> None:
    site.make_knowledge_base("handbook", synced=("False", "SyncFailed", "It would cost too much."))


def suspend(site: Site) -> None:
    site.change_tenant({"spec": {"suspended": True}})
    site.tell_tenant(
        RuntimeReady=("False", "Suspended", "No pod runs."), Ready=("False", "Suspended", "The Tenant is suspended.")
    )


def edit_unseen(site: Site) -> None:
    site.change_tenant({"spec": {"displayName": "Another"}})


def take_label(site: Site) -> None:
    label = {"metadata": {"labels": {names.TENANT_LABEL: None}}}
    path = f"/api/v1/namespaces/{site.namespace}"
    site.server.send("PATCH", path, label, content_type="application/merge-patch+json")


def delete_tenant(site: Site) -> None:
    site.tell_tenant(
        CacheReady=("False", "Unavailable", "Redis is away."), Ready=("False", "Deleting", "Redis is away. It waits.")
    )
    site.server.send("DELETE", f"/apis/{names.API_VERSION}/tenants/{site.tenant}")


@pytest.mark.parametrize(
    ("harm", "check", "says"),
    [
        (break_secret, "references", "the Secret 'openai' does not exist in"),
        (break_conditions, "stores", "The tenant's login in PostgreSQL does not work: PostgreSQL is not available."),
        (break_pods, "pods", "the image x cannot be had (ErrImagePull): not found."),
        (break_agent, "agents", "The Agent 'broken' is not served as its spec says: There is no endpoint 'x'."),
        (break_knowledge, "knowledge", "The KnowledgeBase 'handbook' is not as its spec says: It would cost too much."),
        (suspend, "tenant", "is suspended: no pod of it runs"),
        (edit_unseen, "tenant", "has not judged the present spec of the Tenant"),
        (take_label, "namespace", "does not carry the label syntera.io/tenant"),
        (delete_tenant, "tenant", "Redis is away. It waits."),
    ],
)
def test_what_is_broken_is_told(
    examine: Callable[..., Result], site: Site, harm: Callable[[Site], None], check: str, says: str
) -> None:
    harm(site)
    told = examine("-o", "json")
    assert told.exit_code == 1
    problems = [finding for finding in findings(told) if finding["state"] == "problem"]
    assert any(finding["check"] == check and says in finding["says"] for finding in problems), problems
    assert all(finding["do"] or finding["command"] for finding in problems)


def test_knowledge_base_that_is_well_is_told_and_one_in_trouble_keeps_its_tenant_from_a_single_line(
    site: Site,
) -> None:
    operator = ("--operator", f"{site.system}/{site.operator}")
    site.make_knowledge_base("handbook")

    told = CliRunner().invoke(app, ["doctor", site.tenant, "--no-question", "-o", "json", *operator])
    said = [finding["says"] for finding in findings(told) if finding["check"] == "knowledge"]
    assert said == ["The KnowledgeBase 'handbook' is searched and in step with its sources."]

    site.make_knowledge_base("prices", synced=("False", "SyncFailed", "It would cost too much."))
    told = CliRunner().invoke(app, ["doctor", "--no-question", "-o", "json", *operator])
    assert len([one for one in findings(told) if one["tenant"] == site.tenant]) > 10


def test_unknown_tenant_is_told(site: Site) -> None:
    told = CliRunner().invoke(app, ["doctor", "nobody", "--no-question", "-o", "json"])
    assert told.exit_code == 1
    assert "There is no Tenant 'nobody', but" in findings(told)[-1]["says"]
    assert site.tenant in findings(told)[-1]["says"]


def test_operator_is_found_in_any_namespace(site: Site) -> None:
    told = CliRunner().invoke(app, ["doctor", site.tenant, "--no-question", "-o", "json"])
    said = [finding["says"] for finding in findings(told) if finding["check"] == "operator"]
    assert f"The operator {site.system}/{site.operator} has 1 of 1 pod ready." in said


def test_operator_that_is_named_wrongly_is_told(site: Site) -> None:
    told = CliRunner().invoke(app, ["doctor", site.tenant, "--no-question", "-o", "json", "--operator", "a/b"])
    assert told.exit_code == 1
    assert [finding["says"] for finding in findings(told) if finding["check"] == "operator"] == [
        "There is no Deployment a/b."
    ]


def test_all_tenants_get_a_line_each_and_those_in_trouble_their_details(site: Site) -> None:
    operator = ("--operator", f"{site.system}/{site.operator}")
    line = f"The Tenant {site.tenant!r} is served, and so is its 1 Agent."

    told = CliRunner().invoke(app, ["doctor", "--no-question", "-o", "json", *operator])
    assert [one["says"] for one in findings(told) if one["tenant"] == site.tenant] == [line]

    break_conditions(site)
    site.tell_tenant(Ready=("False", "Unavailable", "PostgreSQL is not available."))
    told = CliRunner().invoke(app, ["doctor", "--no-question", "-o", "json", *operator])
    assert len([one for one in findings(told) if one["tenant"] == site.tenant]) > 10


def test_no_tenant_is_taken_for_well_while_the_operator_is_not(site: Site) -> None:
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{site.system}/leases/{names.LEASE_NAME}"
    site.server.send("DELETE", lease)
    operator = ("--operator", f"{site.system}/{site.operator}")
    told = CliRunner().invoke(app, ["doctor", "--no-question", "-o", "json", *operator])
    assert told.exit_code == 1
    assert len([one for one in findings(told) if one["tenant"] == site.tenant]) > 10


def test_what_the_user_may_not_see_is_told_as_that(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(site.server.kubeconfig_for("nobody")))
    told = CliRunner().invoke(app, ["doctor", site.tenant, "-o", "json"])
    assert told.exit_code == 2
    assert {finding["state"] for finding in findings(told)} == {"ok", "forbidden", "skipped"}


def test_who_may_see_tenants_alone_is_told_what_they_say(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = f"reader-of-{site.tenant}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": ["syntera.io"], "resources": ["tenants", "agents", "knowledgebases"], "verbs": ["get", "list"]}
    site.server.send("POST", f"{rbac}/clusterroles", {"metadata": {"name": reader}, "rules": [rule]})
    subject = {"kind": "User", "name": reader, "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": reader, "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": reader}, "roleRef": role, "subjects": [subject]}
    site.server.send("POST", f"{rbac}/clusterrolebindings", binding)
    eventually(partial(check_allowed, site.server, reader, Request("get", "tenants.syntera.io")))
    monkeypatch.setenv("KUBECONFIG", str(site.server.kubeconfig_for(reader)))

    told = CliRunner().invoke(app, ["doctor", site.tenant, "-o", "json"])

    states = {finding["check"]: finding["state"] for finding in findings(told)}
    assert told.exit_code == 0, told.stdout
    assert (states["tenant"], states["conditions"], states["agents"]) == ("ok", "ok", "ok")
    for hidden in ("operator", "namespace", "references", "runtime", "pods", "events", "question"):
        assert states[hidden] == "forbidden", hidden


def test_kinds_that_are_missing_end_the_walk(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setattr("syntera_cli.doctor.walk.find_kinds", lambda _: ({"Tenant": None}, {"Tenant": False}))
    told = CliRunner().invoke(app, ["doctor", site.tenant, "-o", "json"])
    assert told.exit_code == 1
    assert findings(told)[-1]["says"].startswith("No Tenant was looked at")
