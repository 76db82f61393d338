"""Whatever lies in the folder must keep the contract of a method."""

import inspect

import pytest
import torch
from torch import Tensor

from edgekd.core import plugins
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

METHODS = "edgekd.distill.methods"
STEP = Step(0, 1, torch.Generator())


@pytest.fixture(params=plugins.names(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def method(name: str) -> Method:
    return plugins.create(METHODS, name, Method, {})


def outputs(seed: int, dtype: torch.dtype = torch.float32) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    logits_nk = torch.randn(8, 5, generator=generator, dtype=dtype)
    features = {
        path: torch.randn(8, 6, 4, 4, generator=generator, dtype=dtype) for path in ("a", "b")
    }
    for tensor in (logits_nk, *features.values()):
        tensor.requires_grad_()
    return Outputs(logits_nk, features)


def total(method: Method, student: Outputs, teacher: Outputs) -> Tensor:
    method.prepare(student, teacher, Surgery.none())
    return torch.stack(list(method(student, teacher, torch.arange(8) % 5, STEP).values())).sum()


def test_evidence_and_summary_can_be_read_without_importing_it(name: str) -> None:
    (summary,) = (found for found in plugins.summaries(METHODS) if found.name == name)
    assert summary.constants["EVIDENCE"] in {"code", "paper", "abstract", "title"}
    assert summary.line.endswith(".")


def test_it_takes_keyword_arguments_only_and_has_a_default_for_each(method: Method) -> None:
    for parameter in inspect.signature(type(method)).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty


def test_it_does_not_claim_to_read_features_from_a_cache_of_logits(method: Method) -> None:
    assert not (method.needs_features and method.works_cached)
    assert (method.align == "none") == (not method.needs_features)


def test_terms_are_named_scalars_that_tell_the_method(name: str, method: Method) -> None:
    student, teacher = outputs(0), outputs(1)
    method.prepare(student, teacher, Surgery.none())
    terms = method(student, teacher, torch.arange(8) % 5, STEP)
    assert terms
    assert all(term.startswith(name) and value.ndim == 0 for term, value in terms.items())


def test_gradient_reaches_the_student_and_not_the_teacher(method: Method) -> None:
    student, teacher = outputs(0), outputs(1)
    total(method, student, teacher).backward()
    read = [student.logits_nk, *student.features.values()]
    gradients = [tensor.grad for tensor in read if tensor.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    assert all(t.grad is None for t in (teacher.logits_nk, *teacher.features.values()))


def test_a_perfect_student_has_nothing_to_learn(method: Method) -> None:
    assert total(method, outputs(0), outputs(0)).item() == pytest.approx(0, abs=1e-6)


def test_repeating_the_batch_changes_nothing(method: Method) -> None:
    def twice(found: Outputs) -> Outputs:
        features = {path: torch.cat([f, f]) for path, f in found.features.items()}
        return Outputs(torch.cat([found.logits_nk, found.logits_nk]), features)

    student, teacher = outputs(0, torch.float64), outputs(1, torch.float64)
    method.prepare(student, teacher, Surgery.none())
    labels_n = torch.arange(8) % 5
    once = method(student, teacher, labels_n, STEP)
    again = method(twice(student), twice(teacher), labels_n.repeat(2), STEP)
    for term, value in once.items():
        assert again[term].item() == pytest.approx(value.item(), rel=1e-12)
