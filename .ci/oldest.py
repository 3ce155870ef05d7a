"""Print the oldest dependencies that pyproject.toml allows, as constraints for pip."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))
declared = project["project"]
extras = declared["optional-dependencies"]
for requirement in dict.fromkeys(
    [*declared["dependencies"], *extras["darts"], *extras["sktime"], *extras["onnx"]]
):
    print(requirement.replace(">=", "=="))
