"""Whatever lies in the folder must keep the contract of a method."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from edgekd.core import plugins
from edgekd.core.errors import UsageError
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

METHODS = "edgekd.distill.methods"
LABELS = torch.arange(8) % 5
KEPT = (0, 2, 3, 5)

# A student that says what its teacher says still has a loss, on purpose.
STILL_LEARNS = {
    "triplet": "keeps a margin between the teacher's own outputs",
    "boundary": "keeps a margin between embeddings",
    "smoothed_teacher": "the teacher's maps are smoothed, the student's are not",
    "cross_layer": "shares neighbouring stages, through projections that start at random",
}
# The loss of a batch is not the mean over its images.
NOT_A_MEAN = {
    "sp": "rows of a Gram matrix are normalised over the batch",
    "triplet": "negatives are drawn from the batch",
    "boundary": "positives are searched in the batch",
}


@pytest.fixture(params=plugins.names(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def method(name: str) -> Method:
    return plugins.create(METHODS, name, Method, {})


def step() -> Step:
    return Step(0, 4, torch.Generator().manual_seed(0))


def look(seed: int, dtype: torch.dtype = torch.float32, images: int = 8) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    logits_nk = torch.randn(images, 5, generator=generator, dtype=dtype)
    features = {
        path: torch.randn(images, 6, side, side, generator=generator, dtype=dtype)
        for path, side in (("a", 8), ("b", 4))
    }
    for tensor in (logits_nk, *features.values()):
        tensor.requires_grad_()
    return Outputs(logits_nk, features)


def pair(
    method: Method, mine: int = 0, theirs: int = 1, dtype: torch.dtype = torch.float32
) -> tuple[Outputs, Outputs]:
    """Return what the training would give to the method; seeds are alike if both say the same."""
    student, teacher = look(mine, dtype), look(theirs, dtype)
    if method.second_view is not None or method.perturbs == "for both":
        images = 8 if method.second_view is not None else 2
        others = look(mine + 10, dtype, images), look(theirs + 10, dtype, images)
        return replace(student, others=others[:1]), replace(teacher, others=others[1:])
    if method.perturbs == "for teacher":
        return student, replace(teacher, others=(look(theirs, dtype),))
    return student, teacher


def tensors(outputs: Outputs) -> list[Tensor]:
    found = [outputs.logits_nk, *outputs.features.values()]
    return found + [tensor for other in outputs.others for tensor in tensors(other)]


def labels(method: Method) -> Tensor | None:
    return LABELS if method.needs_labels else None


def total(
    method: Method, student: Outputs, teacher: Outputs, surgery: Surgery | None = None
) -> Tensor:
    method.prepare(student, teacher, surgery or Surgery.none())
    terms = method(student, teacher, labels(method), step())
    return torch.stack(list(terms.values())).sum()


def test_evidence_and_summary_can_be_read_without_importing_it(name: str) -> None:
    (summary,) = (found for found in plugins.summaries(METHODS) if found.name == name)
    assert summary.constants["EVIDENCE"] in {"code", "paper", "abstract", "title"}
    assert summary.line.endswith(".")


def test_no_name_and_no_alias_is_used_twice() -> None:
    found = plugins.names(METHODS)
    for summary in plugins.summaries(METHODS):
        also = summary.constants.get("ALIASES", ())
        assert isinstance(also, tuple)  # of a string, each letter would be a name
        found += also
    assert len(set(found)) == len(found)


def test_it_takes_keyword_arguments_only_and_has_a_default_for_each(method: Method) -> None:
    for parameter in inspect.signature(type(method)).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty


def test_it_does_not_claim_to_read_more_from_a_cache_than_logits_of_the_batch(
    method: Method,
) -> None:
    more = method.needs_features or method.adapts_teacher or method.second_view is not None
    assert not (method.works_cached and (more or method.perturbs != "no"))
    assert (method.align == "none") == (not method.needs_features)


def test_it_asks_for_a_second_view_or_makes_images_but_not_both(method: Method) -> None:
    assert method.second_view is None or method.perturbs == "no"


def test_terms_are_named_scalars_that_tell_the_method(name: str, method: Method) -> None:
    student, teacher = pair(method)
    method.prepare(student, teacher, Surgery.none())
    terms = method(student, teacher, labels(method), step())
    assert terms
    assert all(term.startswith(name) and value.ndim == 0 for term, value in terms.items())


def test_gradient_reaches_the_student_and_not_the_teacher(method: Method) -> None:
    student, teacher = pair(method)
    total(method, student, teacher).backward()
    gradients = [tensor.grad for tensor in tensors(student) if tensor.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    assert all(tensor.grad is None for tensor in tensors(teacher))


def test_a_perfect_student_has_nothing_to_learn(name: str, method: Method) -> None:
    loss = total(method, *pair(method, 0, 0)).item()
    if name in STILL_LEARNS:
        assert loss > 1e-3, "take it off the list"
    else:
        assert loss == pytest.approx(0, abs=1e-6)


def test_repeating_the_batch_changes_nothing(name: str, method: Method) -> None:
    if name in NOT_A_MEAN:
        return

    def twice(found: Outputs) -> Outputs:
        features = {path: torch.cat([f, f]) for path, f in found.features.items()}
        others = tuple(twice(other) for other in found.others)
        return Outputs(torch.cat([found.logits_nk, found.logits_nk]), features, others)

    student, teacher = pair(method, dtype=torch.float64)
    method.prepare(student, teacher, Surgery.none())
    labels_n = None if labels(method) is None else LABELS.repeat(2)
    once = method(student, teacher, labels(method), step())
    again = method(twice(student), twice(teacher), labels_n, step())
    for term, value in once.items():
        assert again[term].item() == pytest.approx(value.item(), rel=1e-12)


def test_a_pruned_student_can_learn(method: Method) -> None:
    def prune(found: Outputs) -> Outputs:
        features = {
            path: f[:, KEPT].detach().requires_grad_() for path, f in found.features.items()
        }
        return Outputs(found.logits_nk, features, tuple(prune(other) for other in found.others))

    student, teacher = pair(method)
    pruned = prune(student)
    surgery = Surgery(outputs={"a": KEPT, "b": KEPT})
    loss = total(method, pruned, teacher, surgery)
    loss.backward()
    assert loss.isfinite()
    assert any(t.grad is not None and t.grad.abs().sum() > 0 for t in tensors(pruned))


def test_a_student_without_features_is_refused_with_the_way_out(method: Method) -> None:
    if method.needs_features:
        nothing = Outputs(torch.zeros(2, 5))
        with pytest.raises(UsageError, match="method 'kd'"):
            method.prepare(nothing, nothing, Surgery.none())


def test_parameters_are_there_once_it_is_prepared_if_it_adapts_channels(method: Method) -> None:
    student, teacher = pair(method)
    total(method, student, teacher).backward()
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert bool(trained) == (method.align == "adapter")
    assert all(parameter.grad is not None for parameter in trained)


def test_preparing_it_draws_no_random_numbers_so_that_processes_begin_alike(name: str) -> None:
    before = torch.random.get_rng_state()
    states = []
    for _ in range(2):
        method = plugins.create(METHODS, name, Method, {})
        method.prepare(*pair(method), Surgery.none())
        states.append(method.state_dict())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_a_stage_draws_from_its_own_generator_alone(method: Method) -> None:
    student, teacher = pair(method)
    method.prepare(student, teacher, Surgery.none())
    before = torch.random.get_rng_state()
    first, second = (method(student, teacher, labels(method), step()) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(first[term].item() == second[term].item() for term in first)


def test_images_that_it_makes_are_finite_and_of_the_size_of_the_batch(method: Method) -> None:
    if method.perturbs == "no":
        return
    side = 64
    generator = torch.Generator().manual_seed(0)
    weight_kd = torch.randn(5, 3 * side * side, generator=generator) / side

    def ask(images_nchw: Tensor) -> Outputs:
        return Outputs(images_nchw.flatten(1) @ weight_kd.T)

    images_nchw = torch.randn(8, 3, side, side, generator=generator)
    original = images_nchw.clone()
    teacher = replace(look(1), logits_nk=ask(images_nchw).logits_nk)
    method.prepare(look(0), teacher, Surgery.none())
    made_nchw = method.perturb(images_nchw, labels(method), teacher, ask, step())
    assert 1 <= len(made_nchw) <= 8
    assert made_nchw.shape[1:] == images_nchw.shape[1:]
    assert made_nchw.isfinite().all()
    assert not made_nchw.requires_grad
    assert torch.equal(images_nchw, original)


def test_an_adaptive_teacher_gets_terms_of_its_own(name: str, method: Method) -> None:
    if not method.adapts_teacher:
        return
    student, teacher = pair(method)
    method.prepare(student, teacher, Surgery.none())
    terms = method.teacher_terms(student, teacher, labels(method), step())
    assert all(term.startswith(name) and value.ndim == 0 for term, value in terms.items())
    torch.stack(list(terms.values())).sum().backward()
    assert teacher.logits_nk.grad.abs().sum() > 0
    assert all(tensor.grad is None for tensor in tensors(student))
