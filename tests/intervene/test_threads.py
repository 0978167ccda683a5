"""Threads that share a model: none sees what another changes."""

import threading

import torch

from saelab.intervene import Steer, Steering, SteerRequest, ablate, dose_curve, steer, steer_steps


def at_once(*works):
    """Run them in threads of their own, all at the same time; what went wrong in any of them."""
    problems, ready = [], threading.Barrier(len(works))

    def guarded(work):
        try:
            ready.wait(timeout=30)
            work()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return problems


def test_logits_are_those_of_the_model_alone_while_others_steer_and_ablate(lm, sae):
    ids = lm.prompt("import os")
    before, seen = lm.logits(ids[None]), []
    part = Steering(sae, (Steer(5, 8.0),), torch.tensor([3.0]))
    steered, ablated = steer(lm, [part], SteerRequest("def f", 20)), ablate(lm, sae, [5], ids)
    curve = dose_curve(lm, sae, Steer(5, 1.0), 3.0, "def f", [7], steps=3, seeds=1)
    found = {}
    problems = at_once(
        lambda: found.update(steered=steer(lm, [part], SteerRequest("def f", 20))),
        lambda: found.update(ablated=[ablate(lm, sae, [5], ids) for _ in range(5)][-1]),
        lambda: found.update(curve=dose_curve(lm, sae, Steer(5, 1.0), 3.0, "def f", [7], steps=3, seeds=1)),
        lambda: seen.extend(lm.logits(ids[None]) for _ in range(60)),
    )
    assert not problems
    assert all(torch.equal(one, before) for one in seen) and len(seen) == 60
    assert found == {"steered": steered, "ablated": ablated, "curve": curve}


def test_a_thread_may_take_the_lock_again_and_others_wait_for_it(lm):
    ids, order = lm.prompt("a"), []

    def other():
        lm.logits(ids[None])
        order.append("other")

    with lm.lock:
        thread = threading.Thread(target=other)
        thread.start()
        lm.logits(ids[None])
        thread.join(timeout=0.3)
        order.append("mine")
    thread.join(timeout=30)
    assert order == ["mine", "other"]


def test_between_two_tokens_another_thread_has_the_unsteered_model(lm, sae):
    ids = lm.prompt("x")
    before, seen = lm.logits(ids[None]), []
    steps = steer_steps(lm, [Steering(sae, (Steer(5, 8.0),), torch.tensor([3.0]))], SteerRequest("import", 3))
    next(steps)
    thread = threading.Thread(target=lambda: seen.append(lm.logits(ids[None])))
    thread.start()
    thread.join(timeout=30)
    assert torch.equal(seen[0], before)
