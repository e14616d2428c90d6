"""A number and its interval, such as 0.5 ± 0.1, stay on one line in the cells of tables."""

from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform


class WholeNumbers(SphinxTransform):
    """Put spaces that no line breaks at around each ± in a table."""

    default_priority = 410  # after names in code are linked, which is left alone here

    def apply(self, **kwargs: Any) -> None:
        """Go through the cells of one page."""
        for cell in self.document.findall(nodes.entry):
            for text in list(cell.findall(nodes.Text)):
                if " ± " in text and not isinstance(text.parent, nodes.literal):
                    text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0")))


def setup(app: Any) -> dict[str, bool]:
    """Change tables while pages are read."""
    app.add_transform(WholeNumbers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
