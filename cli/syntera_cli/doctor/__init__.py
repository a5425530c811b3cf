"""`syntera doctor`: walks from the cluster over operator, Tenant, stores, pods and Agents to one real question.

What is asked (`looking`, `evidence`, `question`) is kept apart from what is judged (`judge_*`): judging is pure, takes plain
manifests and gives findings. It reads only, apart from the one question, and never keeps a Secret's values.
"""
