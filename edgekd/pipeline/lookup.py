"""Look up the names in a recipe that stand for what is built in; needs neither torch nor images."""

from edgekd.core import plugins
from edgekd.core.specs import Recipe
from edgekd.export.platform import Platform
from edgekd.export.target import Target


def check(recipe: Recipe) -> None:
    """Look up methods, criteria, calibrators, targets and the platform.

    Raises:
        UsageError: there is none of that name; the nearest one is named.
    """
    for stage in recipe.stages:
        for use in stage.methods:
            plugins.resolve(plugins.METHODS, use.name)
    for cut in (recipe.student.prune, *(stage.prune for stage in recipe.stages)):
        if cut is not None:
            plugins.resolve(plugins.CRITERIA, cut.criterion)
    plugins.resolve(plugins.CALIBRATORS, recipe.export.calibrator)
    for target in recipe.export.targets:
        Target.read(target)
    if recipe.export.platform is not None:
        Platform.read(recipe.export.platform)
