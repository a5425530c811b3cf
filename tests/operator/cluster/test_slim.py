"""What of a Job is kept in memory."""

from syntera_operator.cluster.slim import slim_job


def test_job_is_kept_without_its_pods() -> None:
    """A template may hold many volumes, and Jobs of all tenants are in memory."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "kb-1", "managedFields": [{"manager": "a", "fieldsV1": {}}]},
        "spec": {"backoffLimit": 4, "template": {"spec": {"volumes": []}}},
        "status": {"active": 1},
    }

    kept = slim_job(job)

    assert kept["spec"] == {"backoffLimit": 4}
    assert kept["status"] == {"active": 1}
    assert kept["metadata"]["managedFields"] == [{"manager": "a"}]
    assert "template" in job["spec"], "what was given is not changed"
