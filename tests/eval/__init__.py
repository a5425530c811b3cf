"""How well knowledge bases answer: a corpus of real documentation, questions with known answers, and figures (`make eval-retrieval`).

Nothing of the corpus is committed; it is fetched when the evaluation runs. The questions are ours.
"""
